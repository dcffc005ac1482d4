//===- JobLink.cpp - how the processes of several hosts meet --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "JobLink.h"

#include <cstring>

using namespace moe::rt;
using namespace moe::run;

double moe::run::jobSilenceSeconds(double timeoutSeconds) {
  return timeoutSeconds + 3;
}

/// Bytes as text, for JSON.
static std::string toHex(const void *data, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i)
    text += format("%02x", static_cast<const unsigned char *>(data)[i]);
  return text;
}

static bool fromHex(const std::string &text, void *data, size_t bytes) {
  if (text.size() != 2 * bytes)
    return false;
  for (size_t i = 0; i < bytes; ++i) {
    char digits[3] = {text[2 * i], text[2 * i + 1], 0}, *end = nullptr;
    static_cast<unsigned char *>(data)[i] =
        static_cast<unsigned char>(std::strtoul(digits, &end, 16));
    if (end != digits + 2)
      return false;
  }
  return true;
}

Expected<std::unique_ptr<JobListener>> JobListener::create(int ranks) {
  auto made = std::make_unique<JobListener>();
  auto listener = openLinkListener(ranks, made->given);
  if (!listener.isOk())
    return listener.status();
  made->listener = listener.take();
  made->reception =
      std::make_unique<LinkReception>(made->listener.get(), made->given, ranks);
  return made;
}

std::string JobListener::invitation() const {
  return toHex(&given, sizeof(given));
}

void JobListener::addTo(std::vector<pollfd> &entries) const {
  reception->addTo(entries);
}

void JobListener::step(const std::function<void(size_t, UniqueFd)> &found) {
  reception->step(found);
}

Expected<std::unique_ptr<JobVisit>>
JobVisit::create(const std::string &invitation, int rank, double seconds) {
  LinkInvitation given;
  if (!fromHex(invitation, &given, sizeof(given)) ||
      given.numAddresses > LinkInvitation::mostAddresses)
    return Status(MOERT_INTERNAL, "rank 0 does not say where its moe-run is");
  return std::make_unique<JobVisit>(given, rank, seconds);
}
