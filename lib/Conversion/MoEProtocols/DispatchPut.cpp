//===- DispatchPut.cpp - the rows of a block, put by a kernel -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DispatchRows.h"

using namespace mlir;
using namespace mlir::moe;

/// Up to so many ranks, metadata is written in a loop over all of them. LLVM
/// unrolls it and keeps the addresses of every rank, which registers have no
/// room for with more.
static constexpr int64_t kUnrolledRanks = 8;

/// Row and rank of a slot's row; -1 without one.
std::pair<Value, Value> DispatchRows::findRow(Value token, Value slot) {
  if (op.isReuse())
    return findReusedRow(token, slot);
  Value none = b.index(-1), zero = b.index(0);
  Value peer = slot, key = slot, number, hasRow;
  if (keyIsExpert())
    std::tie(peer, key) = peerAndKey(token, slot);
  // A slot without a row may name no expert.
  if (marksTokens()) {
    hasRow = b.cmp(Pred::sge, key, zero);
    Value safe = b.select(hasRow, key, zero);
    if (!op.isExpertMajor())
      hasRow = b.both(hasRow, b.cmp(Pred::eq, b.owner(safe, placement), slot));
    number = numMarkedBefore(token, safe);
  } else if (countsInChunks()) {
    std::tie(hasRow, number) = findInChunks(token, key);
  } else {
    number = b.loadIndex(rowNumber, {token, slot});
    hasRow = b.cmp(Pred::sge, number, zero);
  }
  Value row = firstRow(token, b.select(hasRow, key, zero));
  row = b.add(row, number);
  // Without errors only `drop` exceeds the capacity; with one, counts of other
  // ranks are not to be trusted.
  Value isKept = b.both(hasRow, b.cmp(Pred::ult, row, b.index(rowLimit())));
  return {b.select(isKept, row, none), b.select(isKept, peer, zero)};
}

Value DispatchRows::startOf(Value token, Value key) {
  if (!sharesStarts())
    return loadEntry(start, key);
  // Block b has tokens from T * b / blocks on.
  Value bound = b.mul(b.add(token, b.index(1)), b.numBlocks());
  Value block = arith::DivUIOp::create(b, b.sub(bound, b.index(1)), numTokens);
  return loadEntry({start.buffer, block}, key);
}

std::pair<Value, Value> DispatchRows::findReusedRow(Value token, Value slot) {
  Value none = b.index(-1), zero = b.index(0);
  Value row = b.checkedSendRow(
      b.loadIndex(op.getReuse().front(), {token, slot}), capacity, token, slot);
  if (!op.isExpertMajor())
    return {placeOfReused(row, slot), slot};
  Value expert = b.loadIndex(op.getRoutingTopkIdx(), {token, slot});
  Value hasRow = b.cmp(Pred::sge, row, zero);
  Value isExpert = b.cmp(Pred::ult, expert, b.index(placement.numExperts));
  Value isFine = arith::OrIOp::create(b, isExpert, b.cmp(Pred::slt, row, zero));
  b.check(
      isFine, symm::Failure::invalid_expert, "expert id",
      {b.index(placement.numExperts - 1), expert, Value(), zero, token, slot});
  b.noteError(isFine);
  Value isKept = b.both(hasRow, isExpert);
  Value safe = b.select(isKept, expert, zero);
  row = b.select(isKept, row, none);
  return {placeOfReused(row, safe), b.owner(safe, placement)};
}

/// Expert and weight of slot `k` of the token on lane `k`; -1 and 0 on other
/// lanes, and where `isWriter` is false.
std::pair<Value, Value> DispatchRows::loadInLanes(Value token, Value isWriter) {
  Type id = cast<MemRefType>(op.getTopkIdx().getType()).getElementType();
  Value isSlot = b.both(isWriter, b.cmp(Pred::ult, b.lane(), b.index(topK)));
  auto look = scf::IfOp::create(b, TypeRange{id, b.getF32Type()}, isSlot,
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(look.thenBlock());
  Value expert = b.load(op.getTopkIdx(), {token, b.lane()});
  Value weight = b.load(op.getTopkWeights(), {token, b.lane()});
  scf::YieldOp::create(b, ValueRange{expert, weight});
  b.setInsertionPointToStart(look.elseBlock());
  Value zero = arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(0.0f));
  scf::YieldOp::create(b, ValueRange{b.integer(id, -1), zero});
  return {look.getResult(0), look.getResult(1)};
}

/// The same with the expert as an index, -1 when there is no such expert, and
/// repeated experts merged into their first occurrence (placement_s3).
std::pair<Value, Value> DispatchRows::mergeInLanes(Value own, Value ownWeight) {
  Value none = b.index(-1);
  Value zero = arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(0.0f));
  own = b.toIndex(own);
  Value inRange = b.cmp(Pred::ult, own, b.index(placement.numExperts));
  own = b.select(inRange, own, none);
  Value expert = own, weight = ownWeight;
  // In the order of slots, so that the sum has the same bits everywhere.
  for (int64_t k = 0; k < topK && topK > 1; ++k) {
    Value slot = b.index(k);
    Value isSame = b.cmp(Pred::eq, b.shuffle(own, slot), own);
    Value more = b.shuffle(ownWeight, slot);
    Value isLater = b.cmp(Pred::ugt, slot, b.lane());
    Value isEarlier = b.cmp(Pred::ult, slot, b.lane());
    Value sum = arith::AddFOp::create(b, weight, more);
    weight = b.select(b.both(isSame, isLater), sum, weight);
    expert = b.select(b.both(isSame, isEarlier), none, expert);
  }
  Value isNone = b.cmp(Pred::slt, expert, b.index(0));
  return {expert, b.select(isNone, zero, weight)};
}

/// Writes what goes with the rows of a token; lane `i` has the row on rank
/// base + i. The lanes store the experts of one row together. Of many ranks
/// only those that have a row are looked at: most have none.
void DispatchRows::putMetadataOfToken(Value token, Value row, Value base,
                                      int64_t lanes, Value expert,
                                      Value weight) {
  Value zero = b.index(0);
  Value noWeight =
      arith::ConstantFloatOp::create(b, b.getF32Type(), APFloat(0.0f));
  Value source = b.add(b.mul(b.me(), b.index(op.getTokenBound())), token);
  Value isSlot = b.cmp(Pred::ult, b.lane(), b.index(topK));
  auto write = [&](Value i, Value there) {
    Value peer = b.add(base, i);
    auto [firstExpert, lastExpert] = expertsOf(peer);
    // Experts of other ranks are of no interest there (dispatch_s2).
    Value isThere = b.both(b.cmp(Pred::sge, expert, firstExpert),
                           b.cmp(Pred::slt, expert, lastExpert));
    b.ifThen(isSlot, [&] {
      b.storeIndex(b.select(isThere, expert, b.index(-1)),
                   rowTarget(Output::RecvTopkIdx, peer), {there, b.lane()});
      b.store(b.select(isThere, weight, noWeight),
              rowTarget(Output::RecvTopkWeights, peer), {there, b.lane()});
    });
    b.onFirstLane([&] {
      b.storeIndex(source, rowTarget(Output::RecvSrcIdx, peer), {there});
    });
  };
  if (b.numRanks() > kUnrolledRanks) {
    Value rows = b.ballot(b.cmp(Pred::sge, row, zero));
    return b.forBits(rows, [&](Value i) { write(i, b.shuffle(row, i)); });
  }
  b.loop(lanes, [&](Value i) {
    Value there = b.shuffle(row, i);
    b.ifThen(b.cmp(Pred::sge, there, zero), [&] { write(i, there); });
  });
}

/// One lane per slot finds a row. The last member of a team writes what goes
/// with it: where members have unequal shares of the row, it has a small one.
void DispatchRows::putToken(
    Value token, Value member,
    llvm::function_ref<void(Value, Value, int64_t)> putRows) {
  Value minusOne = b.index(-1), zero = b.index(0);
  bool mergesInLanes = !op.isReuse() && !keyIsExpert();
  Value lastMember = b.index(movesInBulk() ? 0 : b.launchShape().team - 1);
  Value isWriter = b.cmp(Pred::eq, member, lastMember);
  // Before the rows, so that the loads of both are in flight together.
  Value expert, weight;
  if (mergesInLanes)
    std::tie(expert, weight) = loadInLanes(token, isWriter);
  for (int64_t base = 0; base < numSlots(); base += kSubgroupSize) {
    int64_t lanes = std::min(kSubgroupSize, numSlots() - base);
    Value slot = b.add(b.index(base), b.lane());
    Value isSlot = b.cmp(Pred::ult, b.lane(), b.index(lanes));
    auto find = scf::IfOp::create(
        b, TypeRange{b.getIndexType(), b.getIndexType()}, isSlot,
        /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(find.thenBlock());
      auto [row, peer] = findRow(token, slot);
      if (!op.isReuse())
        b.ifThen(isWriter, [&, row = row, peer = peer] {
          b.storeIndex(row, op.getOutput(Output::SendRow), {token, slot});
          if (keyIsExpert())
            b.ifThen(b.cmp(Pred::sge, row, zero), [&] {
              storeMetadata(token, slot, peer, row,
                            [&](Output kind) { return rowTarget(kind, peer); });
            });
        });
      else if (notesReused())
        b.ifThen(b.both(isWriter, b.cmp(Pred::sge, row, zero)),
                 [&, row = row, peer = peer] { noteReused(peer, row); });
      scf::YieldOp::create(b, ValueRange{row, peer});
      b.setInsertionPointToStart(find.elseBlock());
      scf::YieldOp::create(b, ValueRange{minusOne, zero});
    }
    Value row = find.getResult(0), peer = find.getResult(1);
    putRows(row, peer, lanes);
    if (mergesInLanes)
      b.ifThen(isWriter, [&] {
        auto [merged, sum] = mergeInLanes(expert, weight);
        putMetadataOfToken(token, row, b.index(base), lanes, merged, sum);
      });
  }
}

void DispatchRows::putRows() {
  if (movesInBulk())
    return putTokensInBulk();
  if (numPutters() == b.numSubgroups())
    return putTokens();
  b.ifThen(b.cmp(Pred::ult, b.subgroup(), b.index(numPutters())),
           [&] { putTokens(); });
}

/// With loads and stores: a team copies each row. Where subgroups take what is
/// left, those of a team need not be of one block.
void DispatchRows::putTokens() {
  if (sharesOutTokens()) {
    Value team = b.index(b.launchShape().team);
    Value shares = b.mul(tokensToPut, team);
    return b.forTickets(tickets, epoch, shares, b.ownItems(numPutters()),
                        [&](Value share) {
                          copyToken(arith::DivUIOp::create(b, share, team),
                                    arith::RemUIOp::create(b, share, team));
                        });
  }
  b.forTeams(first, end, numPutters(),
             [&](Value token, Value member) { copyToken(token, member); });
}

void DispatchRows::copyToken(Value token, Value member) {
  Value rotation = b.add(b.add(b.me(), token), b.index(1));
  putToken(token, member, [&](Value row, Value peer, int64_t lanes) {
    putRow({token, member, rotation, row, peer, lanes});
  });
}

void DispatchRows::putRow(const Put &put) {
  int64_t team = b.launchShape().team;
  Value share = team > 1 ? put.member : Value();
  symm::PutEachOp::create(b, x, put.token, rowTarget(Output::RecvX), put.row,
                          put.peer, put.rotation, put.lanes, share, team);
  if (scales)
    symm::PutEachOp::create(b, scales, put.token, rowTarget(Output::RecvScales),
                            put.row, put.peer, put.rotation, put.lanes, share,
                            team);
}

/// Starts to bring the row of `token` into stage `slot` of this subgroup.
void DispatchRows::fetchToken(Value token, Value slot) {
  b.onFirstLane([&] {
    Value counter = b.add(b.mul(b.subgroup(), b.index(numStages())), slot);
    symm::StageExpectOp::create(b, full, counter,
                                b.index(getRowBytes(rowType())));
    SmallVector<Value> indices(cast<MemRefType>(x.getType()).getRank(),
                               b.index(0));
    indices.front() = token;
    symm::FetchOp::create(b, x, indices, ring, slot, full, counter);
  });
}

/// With bulk copies: each copying subgroup has a ring of stages, fetches the
/// rows of its next tokens ahead, and puts each row from its stage to all
/// destinations. A stage is filled again when the put before has read it.
void DispatchRows::putTokensInBulk() {
  MemRefType type = rowType();
  int64_t stages = numStages(), copiers = numCopiers();
  Value zero = b.index(0), one = b.index(1);
  Value depth = b.index(stages), ahead = b.index(stages - 1);
  full = b.workgroup({copiers * stages}, b.getI64Type());
  b.onThread(zero, [&] {
    symm::StageInitOp::create(b, full, /*arrivals=*/1);
    symm::BulkFenceOp::create(b);
  });
  b.syncBlock();
  b.ifThen(b.cmp(Pred::ult, b.subgroup(), b.index(copiers)), [&] {
    SmallVector<int64_t> shape = {stages};
    llvm::append_range(shape, type.getShape().drop_front());
    ring = b.stages(shape, type.getElementType(),
                    b.mul(b.subgroup(), b.index(copierBytes())));
    Value begin = b.add(first, b.subgroup());
    auto tokenAt = [&](Value i) {
      return b.add(begin, b.mul(i, b.index(copiers)));
    };
    Value left = arith::MaxSIOp::create(b, b.sub(end, begin), zero);
    Value number = arith::CeilDivUIOp::create(b, left, b.index(copiers));
    b.loop(zero, arith::MinUIOp::create(b, number, ahead),
           [&](Value i) { fetchToken(tokenAt(i), i); });
    b.loop(number, [&](Value i) {
      Value token = tokenAt(i);
      Value slot = arith::RemUIOp::create(b, i, depth);
      Value round = arith::DivUIOp::create(b, i, depth);
      Value counter = b.add(b.mul(b.subgroup(), depth), slot);
      bool isWaited = false;
      putToken(token, zero, [&](Value row, Value peer, int64_t lanes) {
        if (!isWaited)
          symm::StageWaitOp::create(b, full, counter,
                                    arith::AndIOp::create(b, round, one));
        isWaited = true;
        symm::PutEachOp::create(b, ring, slot, rowTarget(Output::RecvX), row,
                                peer, /*rotation=*/zero, lanes,
                                /*member=*/Value(), /*team=*/1);
        if (scales)
          symm::PutEachOp::create(b, scales, token,
                                  rowTarget(Output::RecvScales), row, peer,
                                  /*rotation=*/zero, lanes,
                                  /*member=*/Value(), /*team=*/1);
      });
      Value next = b.add(i, ahead);
      b.ifThen(b.cmp(Pred::ult, next, number), [&] {
        // More than 32 slots make more than one put per row.
        symm::PutWaitOp::create(b, llvm::divideCeil(numSlots(), kSubgroupSize),
                                /*read=*/true);
        fetchToken(tokenAt(next), arith::RemUIOp::create(b, next, depth));
      });
    });
    symm::PutWaitOp::create(b, /*pending=*/0, /*read=*/false);
  });
}
