//===- SharedCounters.cpp - what ranks tell each other beside MPI ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SharedCounters.h"

#include "moe-runtime/Deadline.h"
#include "moe-runtime/UniqueFd.h"

#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using namespace moe::rt;
using namespace moe::rt::test;

static constexpr size_t kBytes = 4096;

SharedCounters::SharedCounters(Bootstrap &bootstrap) : size(bootstrap.size()) {
  char mine[64] = "/tmp/moe-mpi-test-XXXXXX";
  bool isFirst = bootstrap.rank() == 0;
  UniqueFd made;
  if (isFirst) {
    made = UniqueFd(mkstemp(mine));
    if (!made.isValid() || ftruncate(made.get(), kBytes) != 0)
      std::abort();
  }
  std::vector<char> paths(sizeof(mine) * size_t(size));
  if (!bootstrap.allGather(mine, sizeof(mine), paths.data()).isOk())
    std::abort();
  UniqueFd file(open(paths.data(), O_RDWR));
  void *memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED || !bootstrap.barrier().isOk())
    std::abort();
  words = static_cast<std::atomic<int> *>(memory);
  if (isFirst)
    unlink(mine);
}

SharedCounters::~SharedCounters() { munmap(words, kBytes); }

bool SharedCounters::haveAll(int value, int except) const {
  for (int rank = 0; rank < size; ++rank)
    if (rank != except && words[rank] < value)
      return false;
  return true;
}

bool SharedCounters::await(int value, int except) const {
  for (Deadline deadline(60); !haveAll(value, except); usleep(100))
    if (deadline.isOver())
      return false;
  return true;
}
