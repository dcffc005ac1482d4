//===- Signals.h - signals as events ----------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_SIGNALS_H
#define MOE_TOOLS_MOERUN_SIGNALS_H

#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <csignal>

namespace moe::run {

/// Blocks the signals by which moe-run is ended and hears of its children,
/// and reads them from a descriptor. Those that whoever started moe-run has
/// it ignore (nohup) stay ignored.
class Signals {
public:
  rt::Status block();

  int fd() const { return descriptor.get(); }
  /// The next signal that asks moe-run to end, or 0. Does not wait.
  int next() const;
  /// Waits for some signal, `milliseconds` at most; then as next().
  int waitForNext(int milliseconds) const;
  /// What was blocked before, for child processes.
  const sigset_t &oldMask() const { return mask; }

private:
  rt::UniqueFd descriptor;
  sigset_t mask;
};

/// Writes to a closed pipe or beyond a limit of file sizes become errors that
/// can be reported, and descriptors 0 to 2 are open, so that no file or socket
/// is taken for standard output.
void prepareProcess();

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_SIGNALS_H
