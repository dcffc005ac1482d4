//===- Word.h - the right to speak for a job --------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

///
/// \file
/// What ends a job is said once, though each of its processes may notice it.
/// The right to say it is a memory file that the processes share: the first
/// one to take it has it, and it stays taken when that process ends. A process
/// that has died or is stopped can hand out nothing, so the others open the
/// file of the process that they are connected to, without its help.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_WORD_H
#define MOE_TOOLS_MOERUN_WORD_H

#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <sys/types.h>

namespace moe::run {

/// A right that nobody has taken yet.
rt::Expected<rt::UniqueFd> makeWord();

/// The right that `process` has a descriptor of, or none if it cannot be
/// opened: only the same user may.
rt::UniqueFd openWordOf(pid_t process);

/// True for one caller among all that share the right.
bool takeWord(int word);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_WORD_H
