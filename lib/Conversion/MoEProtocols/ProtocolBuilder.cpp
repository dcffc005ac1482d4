//===- ProtocolBuilder.cpp - phases of an exchange ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ProtocolBuilder.h"

#include "OutlineCollectives.h"

using namespace mlir;
using namespace mlir::moe;

ProtocolBuilder::ProtocolBuilder(CollectiveOpInterface op, OpBuilder &builder,
                                 int64_t site)
    : ImplicitLocOpBuilder(op.getLoc(), builder), ranks(op.getNumRanks()),
      outlined(getOutlinedFunction(op)) {
  // The callers of an outlined function say which op they stand for.
  if (!outlined)
    createCollectiveBegin(*this, op, site);
  rank = symm::RankOp::create(*this);
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

Value ProtocolBuilder::index(int64_t value) {
  return arith::ConstantIndexOp::create(*this, value);
}

Value ProtocolBuilder::integer(Type type, int64_t value) {
  return arith::ConstantIntOp::create(*this, type, value);
}

Value ProtocolBuilder::i32(int64_t value) {
  return integer(getI32Type(), value);
}

Value ProtocolBuilder::i64(int64_t value) {
  return integer(getI64Type(), value);
}

Value ProtocolBuilder::add(Value x, Value y) {
  return arith::AddIOp::create(*this, x, y);
}

Value ProtocolBuilder::sub(Value x, Value y) {
  return arith::SubIOp::create(*this, x, y);
}

Value ProtocolBuilder::mul(Value x, Value y) {
  return arith::MulIOp::create(*this, x, y);
}

Value ProtocolBuilder::cmp(Pred pred, Value x, Value y) {
  return arith::CmpIOp::create(*this, pred, x, y);
}

Value ProtocolBuilder::both(Value x, Value y) {
  return arith::AndIOp::create(*this, x, y);
}

Value ProtocolBuilder::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(*this, condition, x, y);
}

Value ProtocolBuilder::alignUp(Value value, int64_t multiple) {
  if (multiple == 1)
    return value;
  return mul(arith::CeilDivUIOp::create(*this, value, index(multiple)),
             index(multiple));
}

Value ProtocolBuilder::toIndex(Value value) {
  return arith::IndexCastOp::create(*this, getIndexType(), value);
}

Value ProtocolBuilder::fromIndex(Value value, Type type) {
  return arith::IndexCastOp::create(*this, type, value);
}

Value ProtocolBuilder::toI64(Value value) {
  if (value.getType().isIndex())
    return fromIndex(value, getI64Type());
  if (value.getType().isInteger(64))
    return value;
  return arith::ExtSIOp::create(*this, getI64Type(), value);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value ProtocolBuilder::load(Value memref, ValueRange indices) {
  return memref::LoadOp::create(*this, memref, indices);
}

Value ProtocolBuilder::loadIndex(Value memref, ValueRange indices) {
  return toIndex(load(memref, indices));
}

void ProtocolBuilder::store(Value value, Value memref, ValueRange indices) {
  memref::StoreOp::create(*this, value, memref, indices);
}

void ProtocolBuilder::storeIndex(Value value, Value memref,
                                 ValueRange indices) {
  store(fromIndex(value, cast<MemRefType>(memref.getType()).getElementType()),
        memref, indices);
}

void ProtocolBuilder::fill(Value memref, int64_t value) {
  Type type = cast<MemRefType>(memref.getType()).getElementType();
  linalg::FillOp::create(*this, integer(type, value), memref);
}

Value ProtocolBuilder::dim(Value memref, int64_t dim) {
  auto type = cast<MemRefType>(memref.getType());
  if (!type.isDynamicDim(dim))
    return index(type.getDimSize(dim));
  return memref::DimOp::create(*this, memref, dim);
}

Value ProtocolBuilder::scratch(ArrayRef<int64_t> shape, Type elementType,
                               ValueRange dynamicSizes) {
  Value buffer = memref::AllocOp::create(
      *this, MemRefType::get(shape, elementType), dynamicSizes);
  scratchBuffers.push_back(buffer);
  return buffer;
}

static MemRefType getSymmetricType(ArrayRef<int64_t> shape, Type elementType) {
  return MemRefType::get(shape, elementType, AffineMap(),
                         symm::SpaceAttr::get(elementType.getContext()));
}

Value ProtocolBuilder::symmetric(ArrayRef<int64_t> shape, Type elementType) {
  Value buffer =
      symm::AllocOp::create(*this, getSymmetricType(shape, elementType),
                            /*persistent=*/false, /*offset=*/IntegerAttr());
  symmetricBuffers.push_back(buffer);
  return buffer;
}

Value ProtocolBuilder::persistent(ArrayRef<int64_t> shape, Type elementType) {
  return symm::AllocOp::create(*this, getSymmetricType(shape, elementType),
                               /*persistent=*/true, /*offset=*/IntegerAttr());
}

static bool hasContiguousRows(MemRefType type) {
  return type.areTrailingDimsContiguous(type.getRank());
}

Value ProtocolBuilder::scratchLike(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<Value> dynamicSizes;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (type.isDynamicDim(i))
      dynamicSizes.push_back(dim(memref, i));
  return scratch(type.getShape(), type.getElementType(), dynamicSizes);
}

Value ProtocolBuilder::withContiguousRows(Value memref) {
  if (hasContiguousRows(cast<MemRefType>(memref.getType())) &&
      beginsAligned(memref))
    return memref;
  Value copy = scratchLike(memref);
  memref::CopyOp::create(*this, memref, copy);
  return copy;
}

Value ProtocolBuilder::withAlignedRows(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  if (hasContiguousRows(type) && beginsAligned(memref) &&
      succeeded(type.getStridesAndOffset(strides, offset)) &&
      !ShapedType::isDynamic(offset) &&
      offset * type.getElementTypeBitWidth() % 128 == 0)
    return memref;
  return scratchLike(memref);
}

void ProtocolBuilder::copyBack(Value rows, Value memref) {
  if (rows != memref)
    memref::CopyOp::create(*this, rows, memref);
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

void ProtocolBuilder::loop(Value from, Value to,
                           llvm::function_ref<void(Value)> body) {
  auto op = scf::ForOp::create(*this, from, to, index(1));
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.getBody());
  body(op.getInductionVar());
}

void ProtocolBuilder::loop(Value to, llvm::function_ref<void(Value)> body) {
  loop(index(0), to, body);
}

void ProtocolBuilder::loop(int64_t to, llvm::function_ref<void(Value)> body) {
  loop(index(to), body);
}

SmallVector<Value> ProtocolBuilder::reduce(
    Value from, Value to, ValueRange init,
    llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto op = scf::ForOp::create(*this, from, to, index(1), init);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToEnd(op.getBody());
  scf::YieldOp::create(*this,
                       body(op.getInductionVar(), op.getRegionIterArgs()));
  return op.getResults();
}

void ProtocolBuilder::ifThen(Value condition, llvm::function_ref<void()> body) {
  auto op = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  body();
}

void ProtocolBuilder::forEachPeer(llvm::function_ref<void(Value)> body) {
  loop(ranks, [&](Value i) { body(rotated(i)); });
}

Value ProtocolBuilder::rotated(Value i) {
  return arith::RemUIOp::create(*this, add(me(), i), index(ranks));
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

Value ProtocolBuilder::owner(Value expert, ExpertPlacement placement) {
  int64_t base = placement.base();
  int64_t remainder = placement.remainder();
  if (base == 0) // one expert on each of the first E ranks
    return expert;
  if (remainder == 0)
    return arith::DivUIOp::create(*this, expert, index(base));
  // With m = remainder, rank r < m starts at r * (base + 1), rank r >= m at
  // r * base + m; the owner is the larger of what the two give.
  Value inLarger = arith::DivUIOp::create(*this, expert, index(base + 1));
  Value inSmaller =
      arith::DivSIOp::create(*this, sub(expert, index(remainder)), index(base));
  return arith::MaxSIOp::create(*this, inLarger, inSmaller);
}

Value ProtocolBuilder::firstExpert(Value rank, ExpertPlacement placement) {
  Value first = mul(rank, index(placement.base()));
  if (placement.remainder() == 0)
    return first;
  return add(first,
             arith::MinUIOp::create(*this, rank, index(placement.remainder())));
}

//===----------------------------------------------------------------------===//
// Protocol
//===----------------------------------------------------------------------===//

void ProtocolBuilder::phase(StringRef name) {
  symm::PhaseOp::create(*this, name);
}

void ProtocolBuilder::check(Value condition, symm::Failure failure,
                            StringRef what, const Checked &checked) {
  Value least = checked.least ? toI64(checked.least) : Value();
  symm::CheckOp::create(*this, condition, failure, what, toI64(checked.most),
                        least, toI64(checked.seen), checked.token, checked.slot,
                        checked.peer);
}

Value ProtocolBuilder::checked(Value condition, Value value, Value fallback) {
  return continuesAfterCheck() ? select(condition, value, fallback) : value;
}

Value ProtocolBuilder::checkedTokens(Value memref, int64_t bound,
                                     bool hasBound) {
  Value tokens = dim(memref, 0);
  if (hasBound)
    check(cmp(Pred::ule, tokens, index(bound)), symm::Failure::invalid_argument,
          "number of tokens, bounded by max_tokens", index(bound), tokens);
  return tokens;
}

void ProtocolBuilder::checkRowPerToken(Value memref, Value tokens,
                                       StringRef name) {
  if (!cast<MemRefType>(memref.getType()).isDynamicDim(0))
    return;
  Value rows = dim(memref, 0);
  Checked checked{tokens, rows};
  checked.least = tokens;
  check(cmp(Pred::eq, tokens, rows), symm::Failure::invalid_argument,
        ("rows of " + name + ", one for each token").str(), checked);
}

Value ProtocolBuilder::flags() { return persistent({ranks}, getI64Type()); }

Value ProtocolBuilder::handshakeFlags() {
  Value given =
      outlined ? getMarkedArgument(outlined, kHandshakeAttrName) : Value();
  return given ? given : flags();
}

Value ProtocolBuilder::epoch() {
  if (!currentEpoch)
    currentEpoch =
        symm::NextEpochOp::create(*this, persistent({1}, getI64Type()));
  return currentEpoch;
}

void ProtocolBuilder::signalAll(Value flags) {
  Value value = epoch();
  forEachPeer([&](Value peer) {
    symm::SignalOp::create(*this, flags, me(), peer, value);
  });
}

void ProtocolBuilder::waitAll(Value flags) {
  Value value = epoch();
  forEachPeer([&](Value peer) {
    symm::WaitOp::create(*this, flags, peer, peer, value);
  });
}

void ProtocolBuilder::barrier() {
  Value value = epoch();
  symm::BarrierOp::create(*this, flags(), value);
}

Value ProtocolBuilder::allGatherCounts(Value counts) {
  auto type = cast<MemRefType>(counts.getType());
  // Peers put their counts before this rank is known to have arrived, so the
  // matrix shares its memory with nothing. They put those of the next run only
  // when this rank has signalled the end of this one.
  Value all = persistent({ranks, type.getDimSize(1)}, type.getElementType());
  Value arrived = flags();
  Value value = epoch();
  Value first = index(0);
  forEachPeer([&](Value peer) {
    symm::PutOp::create(*this, counts, first, all, me(), peer,
                        /*count=*/Value());
    symm::SignalOp::create(*this, arrived, me(), peer, value);
  });
  waitAll(arrived);
  return all;
}

std::pair<Value, Value> ProtocolBuilder::sumOfSenders(Value counts,
                                                      Value column) {
  Value zero = index(0);
  SmallVector<Value> sums =
      reduce(zero, index(ranks), {zero, zero},
             [&](Value sender, ValueRange carried) -> SmallVector<Value> {
               Value number = loadIndex(counts, {sender, column});
               Value isLower = cmp(Pred::ult, sender, me());
               return {add(carried[0], select(isLower, number, zero)),
                       add(carried[1], number)};
             });
  return {sums[0], sums[1]};
}

void ProtocolBuilder::end() {
  for (Value buffer : llvm::reverse(symmetricBuffers))
    symm::FreeOp::create(*this, buffer);
  for (Value buffer : llvm::reverse(scratchBuffers))
    memref::DeallocOp::create(*this, buffer);
  if (!outlined)
    symm::CollectiveEndOp::create(*this);
}
