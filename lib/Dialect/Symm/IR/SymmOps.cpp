//===- SymmOps.cpp - symm dialect operations ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::symm;

#define GET_OP_CLASSES
#include "moe-mlir/Dialect/Symm/IR/SymmOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Names of results in the printed IR
//===----------------------------------------------------------------------===//

void AllocOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  // Persistent words are flags of peers, or a counter.
  bool isWords = getPersistent() && !getResultIndex() &&
                 getType().getElementType().isInteger(64);
  setName(getBuffer(), !isWords                          ? "symm"
                       : getType().getNumElements() == 1 ? "counter"
                                                         : "flags");
}

void RankOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getResult(), "me");
}

void PeerOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getResult(), "there");
}

void NextEpochOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getEpoch(), "epoch");
}

void WaitOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  if (getSeen())
    setName(getSeen(), "seen");
}

void GridBarrierOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  if (getMet())
    setName(getMet(), "met");
}

void CollectOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getValue(), "value");
  setName(getPosted(), "posted");
}

//===----------------------------------------------------------------------===//
// AllocOp
//===----------------------------------------------------------------------===//

void AllocOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  // A persistent buffer is a named piece of memory: two of them that look the
  // same are two buffers, which the allocate effect says as well.
  effects.emplace_back(MemoryEffects::Allocate::get(),
                       getOperation()->getOpResult(0));
}

LogicalResult AllocOp::verify() {
  if (!getType().getLayout().isIdentity())
    return emitOpError("expects a buffer with identity layout (")
           << getType() << ")";
  if (std::optional<uint64_t> offset = getOffset())
    if (*offset % kFlagAlignment != 0)
      return emitOpError("expects 'offset' (")
             << *offset << ") to be a multiple of " << kFlagAlignment;
  if (std::optional<uint64_t> index = getResultIndex())
    if (!getPersistent())
      return emitOpError("expects a buffer with 'result' (")
             << *index << ") to be persistent";
  return success();
}

//===----------------------------------------------------------------------===//
// AllocResultOp
//===----------------------------------------------------------------------===//

LogicalResult AllocResultOp::verify() {
  auto type = cast<MemRefType>(getBuffer().getType());
  if (!type.getLayout().isIdentity() || type.getMemorySpace())
    return emitOpError("expects a buffer with identity layout in the default "
                       "memory space (")
           << type << ")";
  if (getSizes().size() != static_cast<size_t>(type.getNumDynamicDims()))
    return emitOpError("expects ")
           << type.getNumDynamicDims() << " sizes for the dynamic extents of "
           << type << " (" << getSizes().size() << ")";
  return success();
}

//===----------------------------------------------------------------------===//
// FreeOp
//===----------------------------------------------------------------------===//

LogicalResult FreeOp::verify() {
  auto alloc = getBuffer().getDefiningOp<AllocOp>();
  if (!alloc)
    return emitOpError("expects the result of a 'symm.alloc'");
  if (alloc.getPersistent())
    return emitOpError("expects a buffer that is not persistent");
  return success();
}

//===----------------------------------------------------------------------===//
// PutOp
//===----------------------------------------------------------------------===//

/// Whether the rows of `type` lie one after another without gaps.
static bool hasContiguousRows(MemRefType type) {
  return type.areTrailingDimsContiguous(type.getRank());
}

/// The rows that a put copies have the same shape on both sides.
template <typename OpTy> static LogicalResult verifyRows(OpTy op) {
  auto source = cast<MemRefType>(op.getSource().getType());
  auto target = cast<MemRefType>(op.getTarget().getType());
  if (source.getElementType() != target.getElementType())
    return op.emitOpError("expects the element type of 'source' (")
           << source.getElementType() << ") to be that of 'target' ("
           << target.getElementType() << ")";
  if (source.getRank() == 0 || target.getRank() == 0)
    return op.emitOpError("expects 'source' and 'target' of rank 1 or more");
  if (source.getShape().drop_front() != target.getShape().drop_front())
    return op.emitOpError("expects the row shape of 'source' (")
           << source << ") to be that of 'target' (" << target << ")";
  if (!hasContiguousRows(source))
    return op.emitOpError("expects 'source' (")
           << source << ") to have contiguous rows";
  if (!hasContiguousRows(target))
    return op.emitOpError("expects 'target' (")
           << target << ") to have contiguous rows";
  return success();
}

LogicalResult PutOp::verify() { return verifyRows(*this); }

LogicalResult CopyRowsOp::verify() {
  if (getSources().empty() || getSources().size() != getTargets().size())
    return emitOpError("expects as many 'targets' as 'sources', one at least (")
           << getTargets().size() << " and " << getSources().size() << ")";
  auto first = cast<MemRefType>(getTargets().front().getType());
  for (auto [from, to] : llvm::zip_equal(getSources(), getTargets())) {
    auto source = cast<MemRefType>(from.getType());
    auto target = cast<MemRefType>(to.getType());
    if (source.getElementType() != target.getElementType() ||
        source.getShape() != target.getShape())
      return emitOpError(
                 "expects a source of the element type and shape of its "
                 "target (")
             << source << " and " << target << ")";
    if (target.getRank() == 0 || target.getDimSize(0) != first.getDimSize(0))
      return emitOpError(
                 "expects all buffers to have the same number of rows (")
             << first << " and " << target << ")";
    for (MemRefType type : {source, target})
      if (!hasContiguousRows(type))
        return emitOpError("expects buffers with contiguous rows (")
               << type << ")";
  }
  if (!getOffsets())
    return success();
  if (getEvery())
    return emitOpError("expects either 'offsets' or 'every'");
  if (getOffsets().getType().getShape() != getCounts().getType().getShape())
    return emitOpError("expects as many 'offsets' (")
           << getOffsets().getType() << ") as 'counts' ("
           << getCounts().getType() << ")";
  return success();
}

LogicalResult PutEachOp::verify() {
  if (isStage(getSource().getType())) {
    if (getTeam() != 1)
      return emitOpError("expects 'team' to be 1 (")
             << getTeam() << ") for a source in workgroup memory";
    if (getRows() != 1)
      return emitOpError("expects 'rows' to be 1 (")
             << getRows() << ") for a source in workgroup memory";
    if (getCoherent())
      return emitOpError(
          "expects no 'coherent' for a source in workgroup memory");
  }
  if (getTeam() > 1 && !getMember())
    return emitOpError("expects 'member' with a 'team' of more than one (")
           << getTeam() << ")";
  return verifyRows(*this);
}

//===----------------------------------------------------------------------===//
// Counters
//===----------------------------------------------------------------------===//

template <typename OpTy> static LogicalResult verifyCounter(OpTy op) {
  auto type = cast<MemRefType>(op.getCounter().getType());
  if (type.getNumElements() != 1)
    return op.emitOpError("expects 'counter' to have one element (")
           << type.getNumElements() << ")";
  return success();
}

LogicalResult NextEpochOp::verify() { return verifyCounter(*this); }

LogicalResult GridBarrierOp::verify() { return verifyCounter(*this); }
