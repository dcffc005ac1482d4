//===- Timings.h - time per collective and phase ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TIMINGS_H
#define MOE_RUNTIME_TIMINGS_H

#include "moe-runtime/Trace.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moe::rt {

/// Nanoseconds of the monotonic clock.
int64_t nowNs();

/// Accumulates the time of each (op, location, phase) over calls. What lies
/// outside collectives is phase "compute" of no op; what lies in a collective
/// before its first phase is phase "begin". Belongs to the calling thread.
class Timings {
public:
  struct Row {
    std::string op;
    std::string location;
    std::string phase;
    int64_t calls = 0;
    int64_t ns = 0;
  };

  void beginCall() { enter("", "", "compute"); }
  void beginCollective(const char *op, const char *location) {
    enter(op, location, "begin");
  }
  void phase(const char *name) { enter(op, location, name); }
  void endCollective() { enter("", "", "compute"); }
  void endCall();

  /// In the order in which they were first seen.
  const std::vector<Row> &rows() const { return table; }
  void clear();
  /// From now on stretches of time go to `trace` as well; null ends that. Rows
  /// keep their numbers when timings are cleared.
  void setTrace(Trace *newTrace) { trace = newTrace; }
  /// To be called before an artifact, and its strings, are unloaded.
  void forgetStrings() { keys.clear(); }

private:
  void enter(const char *op, const char *location, const char *phase);

  /// Static strings of generated code, compared by address first.
  struct Key {
    const char *op, *location, *phase;
    int row;
  };
  std::vector<Key> keys;
  size_t likely = 0; ///< where in `keys` to look first
  std::vector<Row> table;
  const char *op = "";
  const char *location = "";
  int current = -1;
  int64_t since = 0;
  Trace *trace = nullptr;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_TIMINGS_H
