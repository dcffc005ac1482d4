//===- Trace.h - when phases began and ended --------------------*- C++
//-*-===////
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TRACE_H
#define MOE_RUNTIME_TRACE_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moe::rt {

/// Begin and end of each stretch of time that Timings adds up, for a picture of
/// a few calls. All memory is taken at first: adding neither allocates nor
/// fails, and what comes after the last free place is counted only.
class Trace {
public:
  struct Event {
    int32_t row;   ///< of the table of Timings: op, location and phase
    int64_t begin; ///< nanoseconds of the monotonic clock, as nowNs
    int64_t end;
  };

  explicit Trace(size_t capacity) { list.reserve(capacity); }

  void add(int32_t row, int64_t begin, int64_t end) {
    if (list.size() < list.capacity())
      list.push_back({row, begin, end});
    else
      ++numDropped;
  }

  /// In the order in which they ended.
  const std::vector<Event> &events() const { return list; }
  /// Events there was no place for.
  uint64_t dropped() const { return numDropped; }

private:
  std::vector<Event> list;
  uint64_t numDropped = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_TRACE_H
