//===- FakeRuntime.h - A runtime of one rank for tests ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_UNITTESTS_TARGET_HOST_FAKERUNTIME_H
#define MOE_UNITTESTS_TARGET_HOST_FAKERUNTIME_H

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace moe::test {

/// What the moert functions of this program see and do. One rank, one thread.
struct FakeRuntime {
  struct Failure {
    int64_t code;
    std::string what;
    int64_t least, most, seen, peer, token, slot;
  };

  /// Live allocations with their sizes.
  std::map<void *, int64_t> live;
  /// Alignments asked for, frees of memory that is not ours.
  int64_t smallestAlignment = INT64_MAX;
  int badFrees = 0;
  /// Texts of collective_begin and phase, in order.
  std::vector<std::string> events;
  std::vector<Failure> failures;
  void *workspace = nullptr;

  /// Runs an entry; returns false when moert_fail ended it.
  bool call(const std::function<void()> &entry);
};

/// The runtime of the current test.
extern FakeRuntime *runtime;

} // namespace moe::test

#endif // MOE_UNITTESTS_TARGET_HOST_FAKERUNTIME_H
