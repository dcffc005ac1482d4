//===- PeerWait.cpp - why a rank stops waiting for others -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PeerWait.h"

using namespace moe::rt;

Status PeerWait::check(int peer, const char *what) {
  if (Status s = group.checkSome(peer, next); !s.isOk())
    return s;
  Status gone = group.checkAlive(peer);
  if (gone.isOk())
    return gone;
  // What failed a rank before it left is the better explanation.
  if (Status first = group.groupError(); !first.isOk())
    return first;
  return gone.withPrefix(here() + ": waiting for " + what);
}

Status PeerWait::timeOut(int peer, const std::string &state) const {
  // Ranks that do different things are the better explanation.
  if (Status s = group.checkGroup(); !s.isOk())
    return s;
  return makeError(MOERT_TIMEOUT,
                   "%s: timed out after %g s waiting for rank %d: %s; rank %d "
                   "was last seen %s",
                   here().c_str(), timeoutSeconds, peer, state.c_str(), peer,
                   group.lastSeen(peer).c_str())
      .aboutPeer(peer);
}
