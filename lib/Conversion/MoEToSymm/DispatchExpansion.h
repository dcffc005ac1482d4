//===- DispatchExpansion.h - rows that cross to a rank once -----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CONVERSION_MOETOSYMM_DISPATCHEXPANSION_H
#define MOE_MLIR_LIB_CONVERSION_MOETOSYMM_DISPATCHEXPANSION_H

#include "../MoEProtocols/KernelBuilder.h"

namespace mlir::moe {

/// The rows of a token for several experts of another rank (expert_major): the
/// token's rank puts the first of them, and the other rank copies it to its
/// other places while more rows arrive (dispatch_s13).
///
/// Tokens move in shares, one for each subgroup of a team. Every rank has a
/// word and a list for each share of each other rank. When a share is put, its
/// word tells each rank the number of the run and how many rows of the token
/// are there; the list has these rows, where they are several. So a rank that
/// copies a share waits for nothing but its word, and who puts rows waits for
/// nobody.
class DispatchExpansion {
public:
  DispatchExpansion(DispatchOp op, KernelBuilder &b);

  /// When the shares of all tokens have come, as their rank puts them: all at
  /// the same time, in the order of tokens, or so from each block of a range.
  enum class Arrival { AtOnce, InOrder, ByBlock };

  /// The rows of a token, one on each lane, seen together.
  struct Places {
    Value rank;   ///< the other rank that has the row; -1 for none
    Value before; ///< rows there on lower lanes
    Value count;  ///< rows there
    Value toPut;  ///< the row, if this rank has to put it; otherwise -1
  };

  //===--------------------------------------------------------------------===//
  // Outside of the kernel
  //===--------------------------------------------------------------------===//

  void allocate();
  /// `rows`, or a copy of them, so that a share has the same bytes on both
  /// sides.
  Value withSameShares(Value rows);

  //===--------------------------------------------------------------------===//
  // Inside the kernel
  //===--------------------------------------------------------------------===//

  /// Where ranks may have different numbers of tokens: tells the others this
  /// one's, and waits for theirs, which are known when the block has met.
  void sendTokens(Value numTokens, Value epoch);
  void receiveTokens(Value epoch);

  Places findPlaces(Value row, Value peer);
  /// Tells each other rank which rows of `token` it has. The subgroup has put
  /// share `member`.
  void announce(Value token, Value member, Value row, const Places &places,
                Value epoch);
  /// Copies the rows that come from other ranks, if all `areFine`.
  void expand(Value areFine, Value epoch, Arrival arrival);
  /// When all blocks have begun the run.
  void endRun(Value epoch) { b.resetTickets(tickets, epoch); }

private:
  using Output = DispatchOp::Output;
  using Pred = ProtocolBuilder::Pred;

  int64_t team() { return b.launchShape().team; }
  int64_t tokenBound() { return op.getTokenBound(); }
  /// Whether the number of tokens is the same on all ranks.
  bool hasStaticTokens() { return !op.getX().getType().isDynamicDim(0); }
  /// The epoch above `bits` bits for a number.
  Value shifted(Value epoch, int64_t bits) {
    return arith::ShLIOp::create(b, epoch, b.i64(bits));
  }
  /// Bits for a number up to `most`.
  static int64_t bitsOf(int64_t most) { return llvm::Log2_64_Ceil(most + 1); }
  /// Word and list of a share from rank `source`.
  Value shareOf(Value source, Value token, Value member);
  /// The most tokens of any rank.
  Value mostTokens();
  /// How many rows of the share this rank has from `source`, which is a rank
  /// only where `isSource`; 0 after a wait in vain.
  Value waitForShare(Value source, Value isSource, Value token, Value member,
                     Value epoch);
  void expandShare(Value token, Value member, Value epoch);
  /// Copies a share from its first of `count` rows to the others.
  void copyShare(Value source, Value token, Value member, Value count);

  DispatchOp op;
  KernelBuilder &b;
  int64_t capacity, topK;
  Value words, lists; ///< of the shares of all ranks
  Value tickets;      ///< of shares that subgroups copy
  Value sizes;        ///< flags that are numbers of tokens
  Value tokens;       ///< those of all ranks, -1 for unknown
};

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CONVERSION_MOETOSYMM_DISPATCHEXPANSION_H
