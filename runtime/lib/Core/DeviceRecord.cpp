//===- DeviceRecord.cpp - what a kernel recorded, as an error -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceRecord.h"

#include "FailedCheck.h"

using namespace moe::rt;

moert_code moe::rt::recordedCode(const moert_device_record *record) {
  return toCode(__atomic_load_n(&record->code, __ATOMIC_ACQUIRE));
}

bool moe::rt::isRecordReady(const moert_device_record *record) {
  return __atomic_load_n(&record->ready, __ATOMIC_ACQUIRE) != 0;
}

void moe::rt::stopKernels(moert_device_record *record) {
  int32_t none = MOERT_OK;
  __atomic_compare_exchange_n(&record->code, &none, int32_t(MOERT_PEER_FAILED),
                              /*weak=*/false, __ATOMIC_ACQ_REL,
                              __ATOMIC_ACQUIRE);
}

void moe::rt::clearRecord(moert_device_record *record) {
  *record = {};
  // Published by the word that others look at first.
  __atomic_store_n(&record->code, int32_t(MOERT_OK), __ATOMIC_SEQ_CST);
}

Status moe::rt::describeRecord(const moert_device_record &record,
                               const Manifest &manifest, double timeoutSeconds,
                               const std::string &lastSeen) {
  auto text = [&](int32_t index, const char *fallback) {
    bool isKnown = index >= 0 && size_t(index) < manifest.deviceStrings.size();
    return isKnown ? manifest.deviceStrings[index] : std::string(fallback);
  };
  std::string where = "a kernel";
  ErrorDetails place;
  if (record.site >= 0 && size_t(record.site) < manifest.sites.size()) {
    const Manifest::Site &site = manifest.sites[record.site];
    where = site.op + " at " + site.location;
    place.op = site.op;
    place.location = site.location;
  }
  if (record.phase >= 0) {
    place.phase = text(record.phase, "?");
    where += ", phase '" + place.phase + "'";
  }
  auto placed = [&](const Status &status) {
    return status.detailed([&](ErrorDetails &details) {
      details.op = place.op;
      details.location = place.location;
      details.phase = place.phase;
      details.peer = record.peer;
    });
  };
  std::string what = text(record.what, "value");
  moert_code code = toCode(record.code);
  // Without a peer: for other blocks, or bulk copies.
  std::string whom =
      record.peer >= 0 ? format("rank %d", record.peer) : "its own GPU";
  if (code == MOERT_TIMEOUT)
    return placed(
        makeError(code,
                  "%s: timed out after %g s waiting for %s: expected "
                  "%s %lld, seen %lld%s%s",
                  where.c_str(), timeoutSeconds, whom.c_str(), what.c_str(),
                  (long long)record.most, (long long)record.seen,
                  lastSeen.empty() ? "" : "; ", lastSeen.c_str())
            .detailed([&](ErrorDetails &details) {
              details.what = what;
              details.expected = format("%lld", (long long)record.most);
              details.seen = format("%lld", (long long)record.seen);
            }));
  if (code == MOERT_PEER_FAILED)
    return placed(
        makeError(code, "%s: rank %d has failed", where.c_str(), record.peer));
  if (code == MOERT_ASSERTION_FAILED)
    return placed(
        makeError(code, "%s: %s: %s", where.c_str(), codeText(code).c_str(),
                  what.c_str())
            .detailed([&](ErrorDetails &details) { details.what = what; }));
  return placed(
      describeCheck(where, {code, what, record.least, record.most, record.seen,
                            record.peer, record.token, record.slot}));
}
