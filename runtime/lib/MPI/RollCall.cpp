//===- RollCall.cpp - who waits in vain, and for whom ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RollCall.h"

#include "moe-runtime/Deadline.h"

#include <algorithm>
#include <poll.h>

using namespace moe::rt;
using namespace moe::rt::mpi;

/// Even tags are those of steps, and 0 is none of theirs.
static constexpr int callTag = 1;
static constexpr int anySource = -1; // MPI_ANY_SOURCE of Open MPI
/// How long to listen for the others.
static constexpr double listenSeconds = 1;

RollCall::RollCall(Communicator &communicator)
    : communicator(communicator), heard(size_t(communicator.size())) {}

/// Takes in the calls that have come.
void RollCall::listen() {
  const Library &mpi = communicator.mpi();
  std::lock_guard<std::mutex> lock(mpi.mutex());
  // A look that finds nothing makes MPI take in what has come.
  for (int misses = 0; misses < 3;) {
    int isThere = 0, isDone = 0;
    MessageStatus status{};
    if (mpi.iprobe(anySource, callTag, communicator.handle(), &isThere,
                   &status) != success)
      return;
    if (!isThere) {
      ++misses;
      continue;
    }
    uint64_t sequence = 0;
    Request request = mpi.requestNull;
    int source = status.source;
    if (mpi.irecv(&sequence, int(sizeof(sequence)), mpi.byte, source, callTag,
                  communicator.handle(), &request) != success)
      return;
    // It is there, and a small message is there as a whole.
    while (mpi.test(&request, &isDone, &status) == success && !isDone)
      ;
    if (source >= 0 && source < communicator.size())
      heard[source] = std::max(heard[source], sequence);
  }
}

void RollCall::call(uint64_t sequence) {
  const Library &mpi = communicator.mpi();
  std::lock_guard<std::mutex> lock(mpi.mutex());
  // Messages to ranks that are gone may stay under way.
  auto *kept = new uint64_t(sequence);
  auto *requests = new std::vector<Request>(heard.size(), mpi.requestNull);
  bool isLeft = false;
  for (int r = 0; r < communicator.size(); ++r) {
    int isDone = 0;
    MessageStatus ignored;
    if (r == communicator.rank() ||
        mpi.isend(kept, int(sizeof(*kept)), mpi.byte, r, callTag,
                  communicator.handle(), &(*requests)[r]) != success)
      continue;
    isLeft |=
        mpi.test(&(*requests)[r], &isDone, &ignored) != success || !isDone;
  }
  if (isLeft)
    return;
  delete kept;
  delete requests;
}

bool RollCall::isCalled(uint64_t sequence) {
  listen();
  return std::any_of(heard.begin(), heard.end(), [&](uint64_t step) {
    return step > ended && step <= sequence;
  });
}

std::vector<int> RollCall::findAbsent(uint64_t sequence) {
  call(sequence);
  std::vector<int> absent;
  for (Deadline deadline(listenSeconds);;) {
    listen();
    absent.clear();
    for (int r = 0; r < communicator.size(); ++r)
      if (r != communicator.rank() && heard[r] <= ended)
        absent.push_back(r);
    if (absent.empty() || deadline.isOver())
      break;
    (void)poll(nullptr, 0, std::min(1, deadline.sliceMs()));
  }
  return absent;
}
