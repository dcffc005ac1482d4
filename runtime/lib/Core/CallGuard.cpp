//===- CallGuard.cpp - why a call's exchange ends early -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CallGuard.h"

using namespace moe::rt;

Status CallGuard::check(int peer) {
  last = bounds.check(peer, "a message");
  if (!last.isOk())
    return last;
  if (Status broken = group.nameDeath(exchanger.poll()); !broken.isOk())
    return broken;
  if (!bounds.isTimeUp())
    return Status::ok();
  last = bounds.timeOut(missing(peer), "expected a message, seen none");
  if (last.code() == MOERT_TIMEOUT)
    last = last.detailed([](ErrorDetails &details) {
      details.what = "message";
      details.expected = "a message";
      details.seen = "none";
    });
  return last;
}

bool CallGuard::gave(const Status &error) const {
  return !last.isOk() && error.code() == last.code() &&
         error.message() == last.message();
}

/// The rank that keeps all others waiting. A transport may not know for whom it
/// waits, and one that is here may itself wait for another one.
int CallGuard::missing(int peer) const {
  if (peer != group.rank() && !group.isInSameCollective(peer))
    return peer;
  for (int other = 0; other < group.size(); ++other)
    if (other != group.rank() && !group.isInSameCollective(other))
      return other;
  return peer;
}
