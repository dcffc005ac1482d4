//===- StandardStream.h - writing without being blocked ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Standard output and standard error may be pipes that nobody reads. A process
/// that is blocked in a write hears neither of signals nor of its ranks.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_STANDARDSTREAM_H
#define MOE_TOOLS_MOERUN_STANDARDSTREAM_H

#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <string>
#include <string_view>

namespace moe::run {

/// Standard output (1) or standard error (2).
class StandardStream {
public:
  explicit StandardStream(int number);

  /// To wait for room with poll(POLLOUT).
  int fd() const { return own.isValid() ? own.get() : number; }
  /// Writes what there is room for, and leaves the rest in `text`.
  rt::Status write(std::string_view &text);

private:
  int number;
  bool mayBlock = false; ///< a pipe, a socket or a terminal
  rt::UniqueFd own;      ///< the same pipe or terminal, opened not to block
};

/// Writes to standard output, for as long as that takes.
rt::Status print(const std::string &text);

/// "moe-run: error: ..." on standard error, as one write where there is room.
/// Gives up after a few seconds, since the process has to end.
void printError(const std::string &message);

/// A compiler's remarks and warnings on standard error, likewise.
void printDiagnostics(std::string_view text);

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_STANDARDSTREAM_H
