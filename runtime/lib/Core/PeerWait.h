//===- PeerWait.h - why a rank stops waiting for others ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_PEERWAIT_H
#define MOE_RUNTIME_LIB_CORE_PEERWAIT_H

#include "moe-runtime/GroupControl.h"

namespace moe::rt {

/// The bounds of a wait for other ranks, and what its errors say.
class PeerWait {
public:
  /// `outside` is where the rank is when it is in no collective, else null.
  PeerWait(GroupControl &group, const std::string *outside,
           double timeoutSeconds)
      : group(group), outside(outside), timeoutSeconds(timeoutSeconds) {}

  /// Not Ok when the group has failed, ranks run different collectives, or
  /// `peer`, of which this rank awaits `what`, is gone.
  Status check(int peer, const char *what);

  bool isTimeUp() { return clock.hasPassed(timeoutSeconds); }
  /// The error that `peer` was waited for for too long. `state` is what has
  /// come of what was awaited: "expected signal 2, seen 1".
  Status timeOut(int peer, const std::string &state) const;
  /// What was awaited has come; the time for what comes next begins.
  void restart() { clock = WaitClock(); }

  std::string here() const { return outside ? *outside : group.here(); }

private:
  GroupControl &group;
  const std::string *outside;
  double timeoutSeconds;
  int next = 0; ///< which rank to compare with next
  WaitClock clock;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_PEERWAIT_H
