//===- SymmetricResults.h - results in a workspace --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_SYMMETRICRESULTS_H
#define MOE_RUNTIME_SYMMETRICRESULTS_H

#include "moe-runtime/Manifest.h"

#include <cstddef>
#include <set>
#include <utility>

namespace moe::rt {

/// What of an artifact's workspace a caller may hold: the symmetric results of
/// its entries, which are valid until their entry is called again. A call of an
/// entry may write all of the workspace but the results of other entries.
class SymmetricResults {
public:
  void setWorkspace(const char *address, size_t size) {
    begin = address;
    bytes = size;
  }

  /// A call of `entry` has returned this memory.
  void note(const Manifest::Entry &entry, const char *address, size_t size) {
    results.insert({&entry, {address, size}});
  }

  /// Whether a call of `entry` may write some of this memory.
  bool isWritten(const Manifest::Entry &entry, const char *address,
                 size_t size) const {
    if (!size || address >= begin + bytes || begin >= address + size)
      return false;
    for (const auto &[owner, result] : results)
      if (owner != &entry && address >= result.first &&
          address + size <= result.first + result.second)
        return isOwn(entry, address, size);
    return true;
  }

private:
  /// Whether it overlaps a result of `entry`.
  bool isOwn(const Manifest::Entry &entry, const char *address,
             size_t size) const {
    for (const auto &[owner, result] : results)
      if (owner == &entry && address < result.first + result.second &&
          result.first < address + size)
        return true;
    return false;
  }

  const char *begin = nullptr;
  size_t bytes = 0;
  /// Entry, address and size of each.
  std::set<std::pair<const Manifest::Entry *, std::pair<const char *, size_t>>>
      results;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_SYMMETRICRESULTS_H
