//===- SharedCounters.h - what ranks tell each other beside MPI -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_MPI_SHAREDCOUNTERS_H
#define MOE_RUNTIME_TESTS_MPI_SHAREDCOUNTERS_H

#include "moe-runtime/Bootstrap.h"

#include <atomic>

namespace moe::rt::test {

/// One counter per rank, in memory that all ranks share: hosts that are
/// namespaces of one machine share files. With it a test waits for what others
/// do, however long that takes, instead of for a time in which they should.
class SharedCounters {
public:
  /// Collective.
  explicit SharedCounters(Bootstrap &bootstrap);
  ~SharedCounters();
  SharedCounters(const SharedCounters &) = delete;
  SharedCounters &operator=(const SharedCounters &) = delete;

  std::atomic<int> &operator[](int rank) { return words[rank]; }
  /// Every rank but `except` has counted to `value`.
  bool haveAll(int value, int except = -1) const;
  /// Waits for that. False after a minute.
  bool await(int value, int except = -1) const;

private:
  std::atomic<int> *words = nullptr;
  int size;
};

} // namespace moe::rt::test

#endif // MOE_RUNTIME_TESTS_MPI_SHAREDCOUNTERS_H
