//===- MessageStream.h - rows as a stream of bytes --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_EXCHANGE_MESSAGESTREAM_H
#define MOE_RUNTIME_LIB_EXCHANGE_MESSAGESTREAM_H

#include "moe-runtime/Exchanger.h"

#include <algorithm>
#include <utility>

namespace moe::rt {

/// One direction of a pair of ranks.
struct MessageStream {
  uint64_t position = 0; ///< bytes moved by this rank
  uint64_t known = 0;    ///< bytes that the other rank was seen to have moved

  // The message of the running exchange.
  bool isBegun = false; ///< the header has been moved
  uint64_t bytes = 0;   ///< that the message has behind its header
  uint64_t left = 0;    ///< of these
  size_t buffer = 0;    ///< which one is moved next
  size_t offset = 0;    ///< in the rows of that buffer

  void begin(uint64_t message) {
    isBegun = false;
    bytes = left = message;
    buffer = offset = 0;
  }
};

/// Calls `copy` for the next `bytes` bytes of a message, piece by piece, where
/// `piece(i)` is the address and size of its part of buffer i.
template <typename Piece, typename Copy>
void forPieces(MessageStream &stream, size_t bytes, Piece piece, Copy copy) {
  stream.left -= bytes;
  while (bytes > 0) {
    auto [start, pieceBytes] = piece(stream.buffer);
    size_t part = std::min(bytes, pieceBytes - stream.offset);
    if (part > 0)
      copy(start + stream.offset, part);
    stream.position += part;
    stream.offset += part;
    bytes -= part;
    if (stream.offset < pieceBytes)
      continue;
    ++stream.buffer;
    stream.offset = 0;
  }
}

/// A buffer may be null when none of its rows are moved.
template <typename Byte>
std::pair<Byte *, size_t> pieceOf(Byte *buffer, size_t rowBytes, int32_t start,
                                  int32_t count) {
  size_t bytes = rowBytes * size_t(count);
  return {bytes > 0 ? buffer + rowBytes * size_t(start) : nullptr, bytes};
}

inline std::pair<const char *, size_t> sentPiece(const RowExchange &rows,
                                                 int peer) {
  return pieceOf(rows.send, rows.rowBytes, rows.sendStarts[peer],
                 rows.sendCounts[peer]);
}

inline std::pair<char *, size_t> receivedPiece(const RowExchange &rows,
                                               int peer) {
  return pieceOf(rows.recv, rows.rowBytes, rows.recvStarts[peer],
                 rows.recvCounts[peer]);
}

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_EXCHANGE_MESSAGESTREAM_H
