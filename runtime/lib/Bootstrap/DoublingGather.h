//===- DoublingGather.h - an all-gather of few messages ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The all-gather of Bruck et al., for ranks that have nothing but messages: in
/// each round a rank sends the blocks that it has, its own and those of the
/// ranks after it, to the rank that many before it. So each round doubles what
/// a rank has, and ceil(log2 R) messages of each rank are enough.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_BOOTSTRAP_DOUBLINGGATHER_H
#define MOE_RUNTIME_LIB_BOOTSTRAP_DOUBLINGGATHER_H

#include "moe-runtime/Status.h"

#include <algorithm>
#include <cstddef>

namespace moe::rt {

class DoublingGather {
public:
  DoublingGather(int rank, int size) : rank(rank), size(size) {}

  /// A rank's blocks 0 to `moved` - 1 go to `to`; those that come from `from`
  /// are its blocks from number `have` on, and as many.
  struct Round {
    int have;
    int to;
    int from;
    size_t moved;
  };

  /// Block `i` of a rank is that of the i-th rank after it.
  int owner(int block) const { return (rank + block) % size; }
  /// To whom a rank that has so many blocks sends them.
  int receiver(int have) const { return (rank - have + size) % size; }

  /// Calls `exchange` for each round, until one fails.
  template <typename Exchange> Status run(Exchange exchange) const {
    for (int have = 1; have < size; have *= 2)
      if (Status s = exchange(Round{have, receiver(have), owner(have),
                                    size_t(std::min(have, size - have))});
          !s.isOk())
        return s;
    return Status::ok();
  }

private:
  int rank, size;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_BOOTSTRAP_DOUBLINGGATHER_H
