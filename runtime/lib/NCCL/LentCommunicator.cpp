//===- LentCommunicator.cpp - a communicator that the caller lends --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LentCommunicator.h"

using namespace moe::rt;
using namespace moe::rt::nccl;

Status LentCommunicator::check() const {
  if (!handle)
    return makeError(
        MOERT_INVALID_ARGUMENT,
        "the NCCL communicator that rank %d lends is null: torch makes it in "
        "the group's first collective, unless init_process_group has been "
        "given device_id; pass device_id, or lend none, so that the runtime "
        "makes its own",
        rank);
  if (library.isOurs)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "rank %d lends a communicator of NCCL, but no "
                     "libnccl.so.2 had been loaded when the runtime opened "
                     "%s: it belongs to an NCCL that is linked into the "
                     "program, or to a library that has been loaded since; "
                     "load that one before the first group, or lend none, so "
                     "that the runtime makes its own",
                     rank, library.str().c_str());
  // NCCL answers no question while it carries out a call.
  Result now = waitFor([this] { return state(); }, group.endSeconds);
  if (now != success)
    return error(now, "looking at the communicator that is lent");
  struct Fact {
    const char *what;
    Result (*ask)(CommHandle, int *);
    int expected;
  };
  for (const Fact &fact :
       {Fact{"rank", library.commUserRank, rank},
        Fact{"number of ranks", library.commCount, group.bootstrap.size()},
        Fact{"GPU", library.commCuDevice, group.gpu->ordinal()}}) {
    int seen = -1;
    if (Result result = fact.ask(handle, &seen); result != success)
      return error(result, "looking at the communicator that is lent");
    if (seen != fact.expected)
      return makeError(MOERT_INVALID_ARGUMENT,
                       "the NCCL communicator that rank %d lends does not fit "
                       "the group: its %s is %d, expected %d; lend the one of "
                       "the same ranks in the same order, on the same GPUs",
                       rank, fact.what, seen, fact.expected)
          .of(rank)
          .expecting(std::to_string(fact.expected), std::to_string(seen));
  }
  return Status::ok();
}

Expected<std::unique_ptr<Communicator>>
LentCommunicator::borrow(const Library &library, const CommunicatorGroup &group,
                         void *handle) {
  std::unique_ptr<LentCommunicator> made(new LentCommunicator(library, group));
  made->handle = static_cast<CommHandle>(handle);
  if (Status s = agreeStatus(group.bootstrap, made->check()); !s.isOk())
    return s;
  return std::unique_ptr<Communicator>(std::move(made));
}
