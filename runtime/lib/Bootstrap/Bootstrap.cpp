//===- Bootstrap.cpp - what all bootstraps share --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Bootstrap.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>

using namespace moe::rt;

Bootstrap::~Bootstrap() = default;

Status Bootstrap::barrier() {
  char nothing = 0;
  std::vector<char> all(size());
  return allGather(&nothing, 1, all.data());
}

std::string moe::rt::listRanks(const std::vector<int> &ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (i)
      text += i + 1 == ranks.size() ? " and " : ", ";
    text += std::to_string(ranks[i]);
  }
  return text;
}

Status moe::rt::agreeStatus(Bootstrap &part, const Status &mine,
                            int *failedRank) {
  Bootstrap &bootstrap = part.whole();
  struct Record {
    int32_t code;
    char message[1020];
    char details[512];
  };
  if (failedRank)
    *failedRank = -1;
  Record record{mine.code(), {}, {}};
  std::strncpy(record.message, mine.message().c_str(),
               sizeof(record.message) - 1);
  if (!mine.isOk())
    std::strncpy(
        record.details,
        encodeDetails(mine.details(), sizeof(record.details) - 1).c_str(),
        sizeof(record.details) - 1);
  std::vector<Record> all(bootstrap.size());
  if (Status s = bootstrap.allGather(&record, sizeof(record), all.data());
      !s.isOk())
    return mine.isOk() ? s : mine;
  int failed = -1;
  for (int r = 0; r < bootstrap.size(); ++r) {
    bool isBetter = failed < 0 || (all[failed].code == MOERT_PEER_FAILED &&
                                   all[r].code != MOERT_PEER_FAILED);
    if (all[r].code != MOERT_OK && isBetter)
      failed = r;
  }
  if (failedRank)
    *failedRank = failed;
  if (failed < 0 || !mine.isOk())
    return mine;
  auto code = static_cast<moert_code>(all[failed].code);
  return makeError(code == MOERT_COLLECTIVE_MISMATCH ? code : MOERT_PEER_FAILED,
                   "rank %d failed: %s", failed, all[failed].message)
      .causedBy(Status(code, "").detailed([&](ErrorDetails &details) {
        details = decodeDetails(all[failed].details);
      }))
      .of(bootstrap.rank(), failed);
}

Expected<std::vector<std::string>>
moe::rt::allGatherText(Bootstrap &part, const std::string &mine) {
  // Of the longest text of all parts.
  Bootstrap &bootstrap = part.whole();
  uint64_t length = mine.size();
  std::vector<uint64_t> lengths(bootstrap.size());
  if (Status s = bootstrap.allGather(&length, sizeof(length), lengths.data());
      !s.isOk())
    return s;
  size_t longest = *std::max_element(lengths.begin(), lengths.end());
  std::string padded = mine;
  padded.resize(std::max<size_t>(longest, 1));
  std::vector<char> all(padded.size() * bootstrap.size());
  if (Status s = bootstrap.allGather(padded.data(), padded.size(), all.data());
      !s.isOk())
    return s;
  std::vector<std::string> texts;
  for (int r = 0; r < part.size(); ++r) {
    int rank = part.rankInWhole(r);
    texts.emplace_back(all.data() + padded.size() * rank, lengths[rank]);
  }
  return texts;
}

//===----------------------------------------------------------------------===//
// A group of one
//===----------------------------------------------------------------------===//

namespace {
class SoloBootstrap : public Bootstrap {
public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Status allGather(const void *in, size_t bytes, void *out) override {
    std::memcpy(out, in, bytes);
    return Status::ok();
  }
  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override {
    out.clear();
    out.emplace_back(fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (fd >= 0 && !out[0].isValid())
      return makeOsError(MOERT_IO, errno, "cannot duplicate a descriptor");
    return Status::ok();
  }
};
} // namespace

std::unique_ptr<Bootstrap> moe::rt::createSoloBootstrap() {
  return std::make_unique<SoloBootstrap>();
}
