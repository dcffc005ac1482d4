//===- KernelBuilder.cpp - kernels of an exchange -------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe;

void KernelBuilder::launch(int64_t stageBytes,
                           llvm::function_ref<void()> body) {
  Value one = index(1);
  Value dynamicBytes = stageBytes > 0 ? i32(stageBytes) : Value();
  auto op = gpu::LaunchOp::create(*this, index(shape.blocks), one, one,
                                  index(shape.threads), one, one, dynamicBytes);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(&op.getBody().front());
  kernel = op;
  status = Value();
  setIds(op.getBlockIds().x, op.getGridSize().x, op.getThreadIds().x);
  body();
  gpu::TerminatorOp::create(*this);
}

void KernelBuilder::setIds(Value block, Value blocks, Value thread) {
  blockId = block;
  gridDim = blocks;
  threadId = thread;
  Value size = index(kSubgroupSize);
  subgroupId = arith::DivUIOp::create(*this, threadId, size);
  laneId = arith::RemUIOp::create(*this, threadId, size);
}

/// A zero of which no compiler knows: the status is 0 or 1.
void KernelBuilder::forgetIds() {
  Value zero =
      toIndex(arith::AndIOp::create(*this, load(status, index(0)), i64(2)));
  setIds(add(blockId, zero), add(gridDim, zero), add(threadId, zero));
}

std::pair<Value, Value> KernelBuilder::blockRange(Value total) {
  auto bound = [&](Value block) -> Value {
    return arith::DivUIOp::create(*this, mul(total, block), gridDim);
  };
  return {bound(blockId), bound(add(blockId, index(1)))};
}

void KernelBuilder::step(Value from, Value to, Value step,
                         llvm::function_ref<void(Value)> body) {
  auto op = scf::ForOp::create(*this, from, to, step);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.getBody());
  body(op.getInductionVar());
}

/// On its way to LLVM the branch that repeats the loop takes the attribute
/// over.
void KernelBuilder::keepInTurn(scf::ForOp loop) {
  auto unroll = LLVM::LoopUnrollAttr::get(getContext(), getBoolAttr(true), {},
                                          {}, {}, {}, {}, {});
  loop->setAttr("loop_annotation", LLVM::LoopAnnotationAttr::get(
                                       getContext(), {}, {}, {}, unroll, {}, {},
                                       {}, {}, {}, {}, {}, {}, {}, {}, {}));
}

void KernelBuilder::forThreads(Value total,
                               llvm::function_ref<void(Value)> body) {
  step(threadId, total, index(shape.threads), body);
}

void KernelBuilder::forSubgroups(Value from, Value to,
                                 llvm::function_ref<void(Value)> body) {
  step(add(from, subgroupId), to, index(numSubgroups()), body);
}

void KernelBuilder::forTeams(Value from, Value to, int64_t subgroups,
                             llvm::function_ref<void(Value, Value)> body) {
  Value size = index(shape.team);
  Value team = arith::DivUIOp::create(*this, subgroupId, size);
  Value member = arith::RemUIOp::create(*this, subgroupId, size);
  step(add(from, team), to, index(subgroups / shape.team),
       [&](Value i) { body(i, member); });
}

void KernelBuilder::onThread(Value which, llvm::function_ref<void()> body) {
  ifThen(cmp(Pred::eq, threadId, which), body);
}

void KernelBuilder::onFirstLane(llvm::function_ref<void()> body) {
  ifThen(cmp(Pred::eq, laneId, index(0)), body);
}

void KernelBuilder::onFirstBlock(llvm::function_ref<void()> body) {
  ifThen(cmp(Pred::eq, blockId, index(0)), body);
}

void KernelBuilder::forPeers(llvm::function_ref<void(Value)> body) {
  forThreads(index(numRanks()), [&](Value i) { body(rotated(i)); });
}

void KernelBuilder::forPeersAside(llvm::function_ref<void(Value)> body) {
  ifThen(cmp(Pred::eq, subgroupId, index(numSubgroups() - 1)), [&] {
    step(laneId, index(numRanks()), index(kSubgroupSize),
         [&](Value i) { body(rotated(i)); });
  });
}

void KernelBuilder::syncBlock() { gpu::BarrierOp::create(*this); }

Value KernelBuilder::syncBlockAll(Value condition) {
  Value bit = arith::ExtUIOp::create(*this, getI32Type(), condition);
  Value all =
      NVVM::BarrierOp::create(*this, getI32Type(), /*barrierId=*/Value(),
                              /*numberOfThreads=*/Value(),
                              NVVM::BarrierReductionAttr::get(
                                  getContext(), NVVM::BarrierReduction::AND),
                              bit)
          .getRes();
  return cmp(Pred::ne, all, i32(0));
}

void KernelBuilder::syncSubgroup() { NVVM::SyncWarpOp::create(*this, i32(-1)); }

void KernelBuilder::forOwnWords(llvm::function_ref<void(Value)> body) {
  step(blockId, index(maxBlocks()), gridDim, body);
}

Value KernelBuilder::ticketWord(Value epoch) {
  return toIndex(arith::AndIOp::create(*this, epoch, i64(1)));
}

void KernelBuilder::resetTickets(Value tickets, Value epoch) {
  onFirstBlock([&] {
    onThread(index(0),
             [&] { store(i64(0), tickets, {ticketWord(add(epoch, i64(1)))}); });
  });
}

/// The first items are spread over blocks before they are spread over the
/// subgroups of a block.
KernelBuilder::FirstItem KernelBuilder::ownItems(int64_t subgroups) {
  return {add(mul(subgroupId, gridDim), blockId),
          mul(gridDim, index(subgroups))};
}

KernelBuilder::FirstItem KernelBuilder::takenItems(Value tickets, Value epoch) {
  Value number = takeTicket(tickets, epoch);
  return {shuffle(toIndex(number), index(0)), index(0)};
}

Value KernelBuilder::takeTicket(Value tickets, Value epoch) {
  auto take = scf::IfOp::create(*this, TypeRange{getI64Type()},
                                cmp(Pred::eq, laneId, index(0)),
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(take.thenBlock());
  Value number = symm::TakeOp::create(*this, tickets, ticketWord(epoch));
  scf::YieldOp::create(*this, number);
  setInsertionPointToStart(take.elseBlock());
  scf::YieldOp::create(*this, i64(0));
  return take.getResult(0);
}

/// The links do not serve all multiprocessors alike: those with the same amount
/// of work are done at very different times. So each subgroup begins with an
/// item of its own and then takes the next one that is left. It asks for that
/// before it turns to the one it has.
void KernelBuilder::forTickets(
    Value tickets, Value epoch, Value total, FirstItem first, ValueRange init,
    llvm::function_ref<SmallVector<Value>(Value, ValueRange,
                                          llvm::function_ref<Value()>)>
        body) {
  SmallVector<Value> begin = {first.item};
  llvm::append_range(begin, init);
  auto loop = scf::WhileOp::create(*this, ValueRange(begin).getTypes(), begin,
                                   nullptr, nullptr);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(&loop.getBefore().front());
  ValueRange state = loop.getBeforeArguments();
  scf::ConditionOp::create(*this, cmp(Pred::ult, state.front(), total), state);
  setInsertionPointToStart(&loop.getAfter().front());
  Value number = takeTicket(tickets, epoch), next;
  auto getNext = [&] {
    if (!next)
      next = add(first.begun, shuffle(toIndex(number), index(0)));
    return next;
  };
  ValueRange arguments = loop.getAfterArguments();
  SmallVector<Value> carried =
      body(arguments.front(), arguments.drop_front(), getNext);
  SmallVector<Value> results = {getNext()};
  llvm::append_range(results, carried);
  scf::YieldOp::create(*this, results);
}

void KernelBuilder::forTickets(Value tickets, Value epoch, Value total,
                               FirstItem first,
                               llvm::function_ref<void(Value)> body) {
  forTickets(tickets, epoch, total, first, ValueRange(),
             [&](Value item, ValueRange, llvm::function_ref<Value()>) {
               body(item);
               return SmallVector<Value>();
             });
}

Value KernelBuilder::beginRun(Value runs) {
  return add(load(runs, blockId), i64(1));
}

void KernelBuilder::endRun(Value runs, Value epoch) {
  onThread(index(0),
           [&] { forOwnWords([&](Value word) { store(epoch, runs, word); }); });
}

void KernelBuilder::trackErrors() {
  status = workgroup({1}, getI64Type());
  onThread(index(0), [&] { store(i64(0), status, index(0)); });
}

void KernelBuilder::noteError(Value isFine) {
  if (!status)
    return;
  Value isWrong = cmp(Pred::eq, isFine, integer(getI1Type(), 0));
  ifThen(isWrong, [&] { store(i64(1), status, index(0)); });
}

Value KernelBuilder::hasNoError() {
  Value seen = shuffle(toIndex(load(status, index(0))), index(0));
  return cmp(Pred::eq, seen, index(0));
}

Value KernelBuilder::waitForPeers(Value flags, Value epoch) {
  Value yes = integer(getI1Type(), 1);
  Value isWaiting = cmp(Pred::eq, subgroupId, index(numSubgroups() - 1));
  auto wait = scf::IfOp::create(*this, TypeRange{getI1Type()}, isWaiting,
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(wait.elseBlock());
  scf::YieldOp::create(*this, yes);
  setInsertionPointToStart(wait.thenBlock());
  auto peers = scf::ForOp::create(*this, laneId, index(numRanks()),
                                  index(kSubgroupSize), yes);
  scf::YieldOp::create(*this, peers.getResult(0));
  setInsertionPointToEnd(peers.getBody());
  Value peer = rotated(peers.getInductionVar());
  Value seen =
      symm::WaitOp::create(*this, getI64Type(), flags, peer, peer, epoch)
          .getSeen();
  Value isThere = cmp(Pred::uge, seen, epoch);
  scf::YieldOp::create(*this, both(peers.getRegionIterArg(0), isThere));
  return wait.getResult(0);
}

Value KernelBuilder::checkedSendRow(Value row, int64_t capacity, Value token,
                                    Value slot) {
  Value none = index(-1);
  Value inRange =
      both(cmp(Pred::sge, row, none), cmp(Pred::slt, row, index(capacity)));
  check(inRange, symm::Failure::invalid_count, "send_row",
        {index(capacity - 1), row, Value(), none, token, slot});
  noteError(inRange);
  return select(inRange, row, none);
}

/// Flags count by twos and are odd after an error.
void KernelBuilder::signalFromBlock(Value flags, Value epoch) {
  syncBlock();
  Value value = add(mul(epoch, i64(2)), load(status, index(0)));
  forPeers([&](Value peer) {
    Value first = mul(me(), index(maxBlocks()));
    forOwnWords([&](Value word) {
      symm::SignalOp::create(*this, flags, add(first, word), peer, value);
    });
  });
}

Value KernelBuilder::waitForBlock(Value flags, Value word, Value peer,
                                  Value value) {
  Value seen =
      symm::WaitOp::create(*this, getI64Type(), flags, word, peer, value)
          .getSeen();
  check(cmp(Pred::ne, sub(seen, value), i64(1)), symm::Failure::peer_failed,
        "status of a peer", i64(0), i64(-1), peer);
  return seen;
}

/// Each wait takes a way to memory: one block that waited for all would take
/// several of them after one another, one per thread at a time.
void KernelBuilder::waitForBlocks(Value flags, Value epoch) {
  Value value = mul(epoch, i64(2));
  forPeers([&](Value peer) {
    Value first = mul(peer, index(maxBlocks()));
    forOwnWords([&](Value word) {
      waitForBlock(flags, add(first, word), peer, value);
    });
  });
}

Value KernelBuilder::waitForAllBlocks(Value flags, Value epoch) {
  Value value = mul(epoch, i64(2));
  auto own = scf::ForOp::create(
      *this, threadId, index(numRanks() * maxBlocks()), index(shape.threads),
      ValueRange{integer(getI1Type(), 1)});
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToEnd(own.getBody());
  Value word = own.getInductionVar();
  Value peer = arith::DivUIOp::create(*this, word, index(maxBlocks()));
  Value seen = waitForBlock(flags, word, peer, value);
  Value isDone = cmp(Pred::uge, seen, value);
  scf::YieldOp::create(*this, both(own.getRegionIterArg(0), isDone));
  return own.getResult(0);
}

Value KernelBuilder::workgroup(ArrayRef<int64_t> shape, Type elementType) {
  auto space =
      gpu::AddressSpaceAttr::get(getContext(), gpu::AddressSpace::Workgroup);
  auto type = MemRefType::get(shape, elementType, AffineMap(), space);
  return kernel.addWorkgroupAttribution(type, getLoc());
}

Value KernelBuilder::stages(ArrayRef<int64_t> shape, Type elementType,
                            Value offset) {
  auto space =
      gpu::AddressSpaceAttr::get(getContext(), gpu::AddressSpace::Workgroup);
  Value bytes = gpu::DynamicSharedMemoryOp::create(
      *this,
      MemRefType::get({ShapedType::kDynamic}, getI8Type(), AffineMap(), space));
  return memref::ViewOp::create(
      *this, MemRefType::get(shape, elementType, AffineMap(), space), bytes,
      offset, ValueRange());
}
