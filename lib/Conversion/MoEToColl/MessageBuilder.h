//===- MessageBuilder.h - messages of an op -------------------- -*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOCOLL_MESSAGEBUILDER_H
#define MOE_MLIR_LIB_CONVERSION_MOETOCOLL_MESSAGEBUILDER_H

#include "../MoEProtocols/ProtocolBuilder.h"
#include "moe-mlir/Conversion/MoEToColl/MoEToColl.h"
#include "moe-mlir/Dialect/Coll/IR/Coll.h"

namespace mlir::moe {

/// What errors call the rows that a peer asks for, those of all ranks, and
/// those of two.
inline constexpr llvm::StringLiteral kRowsAskedForText =
    "end of the rows that the peer's send_row names, bounded by the capacity";
inline constexpr llvm::StringLiteral kExchangeRowsText =
    "rows of all messages of an exchange";
inline constexpr llvm::StringLiteral kPairRowsText =
    "rows between two ranks, bounded by the pair capacity";
/// What they call blocks that a dispatch has kept, and an entry of a send_row
/// beside them.
inline constexpr llvm::StringLiteral kKeptBlockText =
    "end of a block of rows in peer_blocks, bounded by the capacity";
inline constexpr llvm::StringLiteral kKeptRowText =
    "send_row, whose rows are those that peer_blocks has for the rank";

/// The messages of an op, whoever executes the rest of it.
class MessageBuilder {
public:
  MessageBuilder(CollectiveOpInterface op, ProtocolBuilder &b,
                 MessageSchedule schedule);

  /// First rows, and numbers of rows, of each rank: memref<Rxi32>.
  struct Table {
    Value starts, counts;
  };
  /// Rows of a pair of buffers in an exchange.
  struct Rows {
    Value send;
    Table from;
    Value recv;
    Table to;
  };

  /// Rows that each message has room for; none when messages are as long as
  /// their rows.
  std::optional<int64_t> pairRows() const { return room; }
  /// Whether what the counts of a dispatch or an alltoallv say may be more.
  bool mayExceedPairRows() const { return room && *room < most; }
  /// With `pairRows`: rows of a buffer with room for all ranks, and where those
  /// of each rank are in it.
  int64_t numPaddedRows() const;
  Table paddedTable();

  /// Brings row 0 of `counts` (1×G) of every rank to every rank: R×G.
  Value allGather(Value counts);
  /// Sends row p of `send` to rank p; returns what comes from all.
  Value allToAll(Value send);
  void exchange(ArrayRef<Rows> rows);
  /// A buffer of `numRows` rows like those of `memref`.
  Value rowsLike(Value memref, Value numRows);

private:
  ProtocolBuilder &builder;
  int64_t most;
  std::optional<int64_t> room;
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOCOLL_MESSAGEBUILDER_H
