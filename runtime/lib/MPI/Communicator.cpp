//===- Communicator.cpp - a group's own communicator ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Communicator.h"

#include "moe-runtime/Deadline.h"

#include <algorithm>
#include <poll.h>

using namespace moe::rt;
using namespace moe::rt::mpi;

namespace {
/// Lets the functions of a communicator return errors for a while; it may be
/// one of the program's, whose handler would end the process.
class ErrorsReturned {
public:
  ErrorsReturned(const Library &library, Comm comm)
      : library(library), comm(comm) {
    isSet = library.commGetErrhandler(comm, &before) == success &&
            library.commSetErrhandler(comm, library.errorsReturn) == success;
  }
  ~ErrorsReturned() {
    if (!isSet)
      return;
    (void)library.commSetErrhandler(comm, before);
    (void)library.errhandlerFree(&before);
  }

private:
  const Library &library;
  Comm comm;
  Errhandler before = nullptr;
  bool isSet = false;
};

/// What a copy that never ends may still write to.
struct PendingCopy {
  Comm comm = nullptr;
  Request request = nullptr;
};
} // namespace

Expected<std::unique_ptr<Communicator>>
Communicator::copy(const Library &library, Comm original,
                   double timeoutSeconds) {
  if (!original || original == library.commNull)
    return Status(MOERT_INVALID_ARGUMENT,
                  "the communicator is MPI_COMM_NULL: this process is not one "
                  "of its ranks, and makes no group of them");
  std::unique_ptr<Communicator> made(new Communicator(library));
  auto pending = std::make_unique<PendingCopy>();
  std::unique_lock<std::mutex> lock(library.mutex());
  ErrorsReturned guard(library, original);
  int isInter = 0;
  if (Status s = library.check(library.commTestInter(original, &isInter),
                               "MPI_Comm_test_inter");
      !s.isOk())
    return s;
  if (isInter)
    return Status(MOERT_INVALID_ARGUMENT,
                  "the communicator joins two groups (it is an "
                  "inter-communicator); give one of a single group, such as "
                  "MPI_Intercomm_merge makes");
  if (Status s = library.check(
          library.commIdup(original, &pending->comm, &pending->request),
          "MPI_Comm_idup");
      !s.isOk())
    return s;
  // MPI_Comm_dup would wait without a bound.
  int isDone = 0;
  MessageStatus ignored;
  for (Deadline deadline(timeoutSeconds); !isDone;) {
    if (Status s =
            library.check(library.test(&pending->request, &isDone, &ignored),
                          "MPI_Comm_idup");
        !s.isOk()) {
      (void)pending.release();
      return s;
    }
    if (isDone)
      break;
    if (deadline.isOver()) {
      (void)pending.release();
      int rank = -1, size = 0;
      (void)library.commRank(original, &rank);
      (void)library.commSize(original, &size);
      return makeError(MOERT_TIMEOUT,
                       "rank %d: not all of the %d ranks of the communicator "
                       "made the group within %g s",
                       rank, size, timeoutSeconds)
          .of(rank);
    }
    lock.unlock();
    (void)poll(nullptr, 0, std::min(1, deadline.sliceMs()));
    lock.lock();
  }
  made->comm = pending->comm;
  for (auto [result, call] :
       {std::pair<int, const char *>{
            library.commSetErrhandler(made->comm, library.errorsReturn),
            "MPI_Comm_set_errhandler"},
        {library.commRank(made->comm, &made->myRank), "MPI_Comm_rank"},
        {library.commSize(made->comm, &made->numRanks), "MPI_Comm_size"}})
    if (Status s = library.check(result, call); !s.isOk())
      return s;
  return made;
}

Communicator::~Communicator() {
  int isFinalized = 1;
  if (!comm || isLeaked || library.finalized(&isFinalized) != success ||
      isFinalized)
    return;
  std::lock_guard<std::mutex> lock(library.mutex());
  (void)library.commFree(&comm);
}
