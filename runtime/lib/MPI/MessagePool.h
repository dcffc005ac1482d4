//===- MessagePool.h - memory of messages under way -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_MPI_MESSAGEPOOL_H
#define MOE_RUNTIME_LIB_MPI_MESSAGEPOOL_H

#include "Communicator.h"

#include <memory>
#include <optional>
#include <vector>

namespace moe::rt::mpi {

/// A part of a piece that is one message.
struct MessageChunk {
  size_t piece = 0;
  size_t offset = 0;
  size_t bytes = 0;
};

struct MessageSlot {
  std::unique_ptr<char[]> memory;
  size_t room = 0;
  MessageChunk chunk;
};

/// Messages in one direction, of which some are under way: `requests[i]` is
/// that of `slots[i]`.
struct MessageDirection {
  /// How much a rank has on its way to others, and as much from others.
  static constexpr size_t mostBytes = 16 * Messenger::chunkBytes;
  static constexpr size_t mostMessages = 128;

  std::vector<MessageSlot> slots;
  std::vector<Request> requests;
  std::vector<size_t> free; ///< slots; the last one is used first
  size_t bytesUnderWay = 0;

  size_t numUnderWay() const { return slots.size() - free.size(); }

  /// A slot for a message of `bytes`, with `room` for at least as many; or none
  /// as long as there is too much under way.
  std::optional<size_t> take(size_t bytes, size_t room, Request none) {
    if (numUnderWay() > 0 &&
        (numUnderWay() == mostMessages || bytesUnderWay + bytes > mostBytes))
      return std::nullopt;
    if (free.empty()) {
      free.push_back(slots.size());
      slots.emplace_back();
      requests.push_back(none);
    }
    size_t slot = free.back();
    if (slots[slot].room < room) {
      // Pages that no message comes to are never touched.
      slots[slot].memory.reset(new char[room]);
      slots[slot].room = room;
    }
    free.pop_back();
    bytesUnderWay += bytes;
    return slot;
  }
  void giveBack(size_t slot) {
    bytesUnderWay -= slots[slot].chunk.bytes;
    free.push_back(slot);
  }
};

struct MessagePool {
  MessageDirection out, in;
};

} // namespace moe::rt::mpi

#endif // MOE_RUNTIME_LIB_MPI_MESSAGEPOOL_H
