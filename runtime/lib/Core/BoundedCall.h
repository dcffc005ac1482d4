//===- BoundedCall.h - calls that may never return --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_BOUNDEDCALL_H
#define MOE_RUNTIME_LIB_CORE_BOUNDEDCALL_H

#include "moe-runtime/Status.h"

#include <functional>
#include <memory>

namespace moe::rt {

/// A call into another library that may wait for ever, on a thread of its own.
/// The thread outlives this object where the call does not return, so `call`
/// has to own all that it uses.
class BoundedCall {
public:
  /// MOERT_IO when no thread can be started.
  static Expected<BoundedCall> begin(std::function<void()> call);

  bool hasEnded() const;
  /// Whether it has ended within `seconds`.
  bool wait(double seconds);

private:
  struct State;
  explicit BoundedCall(std::shared_ptr<State> state)
      : state(std::move(state)) {}
  std::shared_ptr<State> state;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_BOUNDEDCALL_H
