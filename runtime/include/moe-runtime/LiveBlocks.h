//===- LiveBlocks.h - blocks that were given out ----------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIVEBLOCKS_H
#define MOE_RUNTIME_LIVEBLOCKS_H

#include <cstddef>
#include <map>
#include <vector>

namespace moe::rt {

/// Which blocks a Memory has given out, and which of them outlive the call.
/// `Block` has its size in `bytes`. Not thread-safe.
template <typename Block> class LiveBlocks {
public:
  void add(void *ptr, const Block &block) {
    total += block.bytes;
    blocks.emplace(ptr, Entry{block, 0});
    ofCall.push_back(ptr);
  }

  /// As Memory::free. Calls `recycle` with a block that nobody holds any more.
  template <typename Recycle> bool free(void *ptr, Recycle recycle) {
    if (!ptr)
      return true;
    auto it = blocks.find(ptr);
    if (it == blocks.end())
      return false;
    if (it->second.keeps > 1)
      --it->second.keeps;
    else
      remove(it, recycle);
    return true;
  }

  /// As Memory::keep.
  bool keep(void *ptr) {
    auto it = blocks.find(ptr);
    if (it == blocks.end())
      return false;
    ++it->second.keeps;
    return true;
  }

  bool has(void *ptr) const { return blocks.count(ptr) != 0; }

  /// Gives up the blocks that were not kept. Looks at those of the call alone:
  /// there may be many older ones.
  template <typename Recycle> void endCall(Recycle recycle) {
    for (void *ptr : ofCall) {
      auto it = blocks.find(ptr);
      if (it != blocks.end() && !it->second.keeps)
        remove(it, recycle);
    }
    ofCall.clear();
  }

  /// Gives up all blocks.
  template <typename Recycle> void clear(Recycle recycle) {
    for (auto it = blocks.begin(); it != blocks.end();)
      it = remove(it, recycle);
    ofCall.clear();
  }

  size_t size() const { return blocks.size(); }
  size_t bytes() const { return total; }

private:
  struct Entry {
    Block block;
    unsigned keeps;
  };
  using Map = std::map<void *, Entry>;

  template <typename Recycle>
  typename Map::iterator remove(typename Map::iterator it, Recycle recycle) {
    total -= it->second.block.bytes;
    recycle(it->second.block);
    return blocks.erase(it);
  }

  Map blocks;
  std::vector<void *> ofCall; ///< given out since the last call ended
  size_t total = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIVEBLOCKS_H
