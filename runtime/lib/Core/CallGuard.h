//===- CallGuard.h - why a call's exchange ends early ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_CALLGUARD_H
#define MOE_RUNTIME_LIB_CORE_CALLGUARD_H

#include "PeerWait.h"
#include "moe-runtime/Exchanger.h"

namespace moe::rt {

/// Bounds an exchange of generated code: it ends when the group fails, when
/// ranks run different collectives, when the awaited rank is gone, when the
/// transport reports an error, or when nothing comes for `seconds`.
class CallGuard : public ExchangeGuard {
public:
  CallGuard(Exchanger &exchanger, GroupControl &group, double seconds)
      : exchanger(exchanger), group(group), bounds(group, nullptr, seconds) {}

  Status check(int peer) override;
  void progressed() override { bounds.restart(); }

  /// Whether `error`, with which the exchange ended, is the guard's own and so
  /// names the collective and the phase. Errors of the transport do not, even
  /// if the guard has passed them on. A transport may also go on after an error
  /// of the guard and end with one of its own.
  bool gave(const Status &error) const;

private:
  int missing(int peer) const;

  Exchanger &exchanger;
  GroupControl &group;
  PeerWait bounds;
  Status last; ///< the guard's own last error
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_CALLGUARD_H
