//===- PairBytes.h - bytes that a rank sends to another one -----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_PAIRBYTES_H
#define MOE_RUNTIME_TESTS_PAIRBYTES_H

#include <algorithm>
#include <cstring>
#include <vector>

namespace moe::rt {

/// Appends `count` bytes that tell by which rank and for which rank they were
/// sent. They repeat after 251, no power of two, so that rows and pieces of
/// messages that end up elsewhere are found. All but the first 251 are copied:
/// one by one, bytes take seconds under sanitizers, while other ranks wait.
inline void appendPairBytes(std::vector<char> &bytes, int from, int to,
                            size_t count) {
  constexpr size_t period = 251;
  size_t start = bytes.size();
  bytes.resize(start + count);
  char *begin = bytes.data() + start;
  size_t done = std::min(count, period);
  for (size_t i = 0; i < done; ++i)
    begin[i] = char(from * 37 + to * 11 + int(i) * 3 + 1);
  while (done < count) {
    size_t part = std::min(done, count - done);
    std::memcpy(begin + done, begin, part);
    done += part;
  }
}

} // namespace moe::rt

#endif // MOE_RUNTIME_TESTS_PAIRBYTES_H
