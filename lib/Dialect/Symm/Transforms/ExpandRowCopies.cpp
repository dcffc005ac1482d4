//===- ExpandRowCopies.cpp - Copies of valid rows -------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Symm/Transforms/Passes.h"

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::symm {
#define GEN_PASS_DEF_SYMMEXPANDROWCOPIESPASS
#include "moe-mlir/Dialect/Symm/Transforms/Passes.h.inc"
} // namespace mlir::symm

using namespace mlir;
using namespace mlir::symm;

static constexpr int64_t kThreads = 256;

/// Enough to fill any device; a thread loops over what is left.
static constexpr int64_t kMaxBlocks = 1024;

/// The most bytes that a thread of a GPU moves at once.
static constexpr int64_t kMaxUnitBytes = 16;

namespace {

/// Emits code in place of one `symm.copy_rows`.
class Expansion : public ImplicitLocOpBuilder {
public:
  explicit Expansion(CopyRowsOp op)
      : ImplicitLocOpBuilder(op.getLoc(), op), op(op) {}

  void toLoops();
  void toKernel();

private:
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(*this, value);
  }
  Value loadIndex(Value memref, Value at) {
    Value loaded = memref::LoadOp::create(*this, memref, at);
    return arith::IndexCastOp::create(*this, getIndexType(), loaded);
  }
  int64_t numRows() {
    return cast<MemRefType>(op.getTargets().front().getType()).getDimSize(0);
  }
  int64_t numGroups() { return op.getCounts().getType().getDimSize(0); }

  std::pair<Value, Value> rangeOf(Value group, Value behind);
  int64_t getUnitElements(Value source, Value target);
  Value flatten(Value memref);
  void copyUnit(Value source, Value target, Value unit, int64_t length);
  void copyUnits(Value source, Value target, Value thread, Value numThreads);

  CopyRowsOp op;
  /// Buffers as memrefs of one dimension.
  llvm::DenseMap<Value, Value> flatSources, flatTargets;
};

} // namespace

/// First row and end of `group`, which are rows of the buffer whatever the
/// counts are; `behind` is the end of the group before.
std::pair<Value, Value> Expansion::rangeOf(Value group, Value behind) {
  Value zero = index(0), rows = index(numRows());
  Value begin = behind;
  if (op.getEvery())
    begin = arith::MulIOp::create(*this, group, index(*op.getEvery()));
  else if (op.getOffsets())
    begin = loadIndex(op.getOffsets(), group);
  begin = arith::MinSIOp::create(
      *this, arith::MaxSIOp::create(*this, begin, zero), rows);
  Value count =
      arith::MaxSIOp::create(*this, loadIndex(op.getCounts(), group), zero);
  Value end = arith::AddIOp::create(*this, begin, count);
  return {begin, arith::MinSIOp::create(*this, end, rows)};
}

static int64_t getRowElements(MemRefType type) {
  return ShapedType::getNumElements(type.getShape().drop_front());
}

/// Whether a buffer has nothing to copy: no rows, or rows of no elements.
static bool isEmpty(Value memref) {
  return cast<MemRefType>(memref.getType()).getNumElements() == 0;
}

//===----------------------------------------------------------------------===//
// Loops of a host
//===----------------------------------------------------------------------===//

/// Row `row` of `memref` as a memref of its own.
static Value createRow(ImplicitLocOpBuilder &b, Value memref, Value row) {
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(type.getRank(), b.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes = {b.getIndexAttr(1)};
  offsets.front() = row;
  for (int64_t extent : type.getShape().drop_front())
    sizes.push_back(b.getIndexAttr(extent));
  return memref::SubViewOp::create(b, memref, offsets, sizes, strides);
}

void Expansion::toLoops() {
  Value zero = index(0), one = index(1);
  auto groups = scf::ForOp::create(*this, zero, index(numGroups()), one, zero);
  setInsertionPointToStart(groups.getBody());
  auto [begin, end] =
      rangeOf(groups.getInductionVar(), groups.getRegionIterArg(0));
  for (auto [source, target] :
       llvm::zip_equal(op.getSources(), op.getTargets())) {
    if (isEmpty(target))
      continue;
    auto rows = scf::ForOp::create(*this, begin, end, one);
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(rows.getBody());
    Value row = rows.getInductionVar();
    if (cast<MemRefType>(source.getType()).getRank() == 1)
      memref::StoreOp::create(*this, memref::LoadOp::create(*this, source, row),
                              target, row);
    else
      memref::CopyOp::create(*this, createRow(*this, source, row),
                             createRow(*this, target, row));
  }
  scf::YieldOp::create(*this, end);
  op.erase();
}

//===----------------------------------------------------------------------===//
// A kernel
//===----------------------------------------------------------------------===//

/// `memref`, whose rows follow one another, with a single dimension.
Value Expansion::flatten(Value memref) {
  int64_t rank = cast<MemRefType>(memref.getType()).getRank();
  if (rank == 1)
    return memref;
  auto all = llvm::to_vector<2>(llvm::seq<int64_t>(0, rank));
  return memref::CollapseShapeOp::create(
      *this, memref, SmallVector<ReassociationIndices>{all});
}

/// Whether `memref` begins where a buffer does, which is aligned to 16 bytes.
static bool beginsBuffer(Value memref) {
  while (Operation *source = memref.getDefiningOp()) {
    if (!cast<MemRefType>(memref.getType()).getLayout().isIdentity() ||
        isa<memref::ViewOp>(source))
      return false;
    auto view = dyn_cast<ViewLikeOpInterface>(source);
    if (!view || !isa<MemRefType>(view.getViewSource().getType()))
      return true;
    memref = view.getViewSource();
  }
  return cast<MemRefType>(memref.getType()).getLayout().isIdentity();
}

/// How many elements of these buffers a thread moves at once.
int64_t Expansion::getUnitElements(Value source, Value target) {
  auto type = cast<MemRefType>(source.getType());
  Type element = type.getElementType();
  if (!element.isIntOrFloat() || element.getIntOrFloatBitWidth() % 8 != 0 ||
      !beginsBuffer(source) || !beginsBuffer(target))
    return 1;
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  int64_t perRow = getRowElements(type);
  int64_t length = 1;
  while (perRow % (2 * length) == 0 && 2 * length * bytes <= kMaxUnitBytes)
    length *= 2;
  return length;
}

/// Copies unit `unit` of flat buffers, which has `length` elements.
void Expansion::copyUnit(Value source, Value target, Value unit,
                         int64_t length) {
  if (length == 1) {
    Value element = memref::LoadOp::create(*this, source, unit);
    memref::StoreOp::create(*this, element, target, unit);
    return;
  }
  Type element = cast<MemRefType>(source.getType()).getElementType();
  auto alignment =
      llvm::MaybeAlign(length * element.getIntOrFloatBitWidth() / 8);
  Value at = arith::MulIOp::create(*this, unit, index(length));
  Value moved = vector::LoadOp::create(
      *this, VectorType::get({length}, element), source, ValueRange{at},
      /*nontemporal=*/false, alignment);
  vector::StoreOp::create(*this, moved, target, ValueRange{at},
                          /*nontemporal=*/false, alignment);
}

/// Copies the rows of all groups. Their units are numbered through, and of
/// `numThreads` threads number `thread` moves every unit that leaves the rest
/// `thread`: threads side by side move what lies side by side, and all have as
/// much to do, however small the groups are.
void Expansion::copyUnits(Value source, Value target, Value thread,
                          Value numThreads) {
  int64_t length = getUnitElements(source, target);
  int64_t perRow = getRowElements(cast<MemRefType>(source.getType())) / length;
  Value flatSource = flatSources.lookup(source);
  Value flatTarget = flatTargets.lookup(target);

  OpBuilder::InsertionGuard guard(*this);
  Value zero = index(0), rowUnits = index(perRow);
  // End of the group before; number of its first unit behind; the next one of
  // this thread.
  auto groups = scf::ForOp::create(*this, zero, index(numGroups()), index(1),
                                   ValueRange{zero, zero, thread});
  setInsertionPointToStart(groups.getBody());
  Value number = groups.getRegionIterArg(1), next = groups.getRegionIterArg(2);
  auto [begin, end] =
      rangeOf(groups.getInductionVar(), groups.getRegionIterArg(0));
  Value rows = arith::SubIOp::create(*this, end, begin);
  Value limit = arith::AddIOp::create(
      *this, number, arith::MulIOp::create(*this, rows, rowUnits));
  // From the number of a unit to its place.
  Value shift = arith::SubIOp::create(
      *this, arith::MulIOp::create(*this, begin, rowUnits), number);
  auto units =
      scf::ForOp::create(*this, next, limit, numThreads, ValueRange{next});
  {
    OpBuilder::InsertionGuard inner(*this);
    setInsertionPointToStart(units.getBody());
    Value mine = units.getInductionVar();
    copyUnit(flatSource, flatTarget, arith::AddIOp::create(*this, mine, shift),
             length);
    scf::YieldOp::create(
        *this, arith::AddIOp::create(*this, mine, numThreads).getResult());
  }
  scf::YieldOp::create(*this, ValueRange{end, limit, units.getResult(0)});
}

void Expansion::toKernel() {
  int64_t mostUnits = 1;
  for (auto [source, target] :
       llvm::zip_equal(op.getSources(), op.getTargets())) {
    if (isEmpty(target))
      continue;
    auto type = cast<MemRefType>(source.getType());
    int64_t units = type.getNumElements() / getUnitElements(source, target);
    mostUnits = std::max(mostUnits, units);
    flatSources[source] = flatten(source);
    flatTargets[target] = flatten(target);
  }
  int64_t blocks =
      std::min<int64_t>(llvm::divideCeil(mostUnits, kThreads), kMaxBlocks);
  Value one = index(1);
  auto launch = gpu::LaunchOp::create(*this, index(blocks), one, one,
                                      index(kThreads), one, one);
  setInsertionPointToEnd(&launch.getBody().front());
  Value threads = index(kThreads);
  Value thread = arith::AddIOp::create(
      *this, arith::MulIOp::create(*this, launch.getBlockIds().x, threads),
      launch.getThreadIds().x);
  Value numThreads =
      arith::MulIOp::create(*this, launch.getGridSize().x, threads);
  for (auto [source, target] :
       llvm::zip_equal(op.getSources(), op.getTargets()))
    if (!isEmpty(target))
      copyUnits(source, target, thread, numThreads);
  gpu::TerminatorOp::create(*this);
  op.erase();
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {

struct SymmExpandRowCopiesPass
    : public symm::impl::SymmExpandRowCopiesPassBase<SymmExpandRowCopiesPass> {
  using SymmExpandRowCopiesPassBase::SymmExpandRowCopiesPassBase;

  void runOnOperation() override {
    if (target != "host" && target != "cuda") {
      getOperation()->emitError("symm-expand-row-copies expects 'target' to be "
                                "host or cuda (")
          << target << ")";
      return signalPassFailure();
    }
    SmallVector<CopyRowsOp> copies;
    getOperation()->walk([&](CopyRowsOp op) { copies.push_back(op); });
    for (CopyRowsOp op : copies) {
      if (target == "cuda")
        Expansion(op).toKernel();
      else
        Expansion(op).toLoops();
    }
    numExpanded += copies.size();
  }
};

} // namespace
