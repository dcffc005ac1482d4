//===- FiberLowering.cpp - ops of kernels that fibers execute -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FiberLowering.h"

#include "../SymmToLLVM/RuntimeCalls.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/FunctionCallUtils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Values and calls
//===----------------------------------------------------------------------===//

Value moe::getDescriptor(OpBuilder &builder, Location loc,
                         const LLVMTypeConverter &converter, Value memref) {
  return UnrealizedConversionCastOp::create(
             builder, loc, converter.convertType(memref.getType()), memref)
      .getResult(0);
}

FailureOr<Value> moe::callFibers(OpBuilder &builder, Location loc,
                                 StringRef name, StringRef types,
                                 ValueRange args) {
  MLIRContext *context = builder.getContext();
  auto getType = [&](char letter) -> Type {
    if (letter == 'p')
      return LLVM::LLVMPointerType::get(context);
    if (letter == 'i')
      return builder.getI64Type();
    return LLVM::LLVMVoidType::get(context);
  };
  SmallVector<Type> params;
  for (char letter : types.drop_front())
    params.push_back(getType(letter));
  auto module = builder.getBlock()->getParentOp()->getParentOfType<ModuleOp>();
  FailureOr<LLVM::LLVMFuncOp> function =
      LLVM::lookupOrCreateFn(builder, module, ("moe_fiber_" + name).str(),
                             params, getType(types.front()));
  if (failed(function))
    return failure();
  auto call = LLVM::CallOp::create(builder, loc, *function, args);
  return call.getNumResults() == 0 ? Value() : call.getResult();
}

LogicalResult FiberLowering::replace(Operation *op, StringRef name,
                                     StringRef types, ValueRange args) {
  FailureOr<Value> result = call(name, types, args);
  if (failed(result))
    return failure();
  if (op->getNumResults() == 0)
    rewriter.eraseOp(op);
  else
    rewriter.replaceOp(op, fromI64(*result, op->getResult(0).getType()));
  return success();
}

Value FiberLowering::i64(int64_t value) {
  return arith::ConstantIntOp::create(rewriter, loc, value, 64);
}

/// Of an index, an integer or an f32: its bits.
Value FiberLowering::toI64(Value value) {
  Type i64Type = rewriter.getI64Type();
  if (value.getType().isIndex())
    return arith::IndexCastOp::create(rewriter, loc, i64Type, value);
  if (value.getType().isF32())
    value =
        arith::BitcastOp::create(rewriter, loc, rewriter.getI32Type(), value);
  if (value.getType() == i64Type)
    return value;
  return arith::ExtUIOp::create(rewriter, loc, i64Type, value);
}

Value FiberLowering::fromI64(Value value, Type type) {
  if (type.isIndex())
    return arith::IndexCastOp::create(rewriter, loc, type, value);
  Type integer = rewriter.getIntegerType(type.getIntOrFloatBitWidth());
  if (integer != value.getType())
    value = arith::TruncIOp::create(rewriter, loc, integer, value);
  if (type == integer)
    return value;
  return arith::BitcastOp::create(rewriter, loc, type, value);
}

Value FiberLowering::address(Value memref, ValueRange indices) {
  SmallVector<Value> wide;
  for (Value index : indices)
    wide.push_back(toI64(index));
  return LLVM::getStridedElementPtr(
      rewriter, loc, converter, cast<MemRefType>(memref.getType()),
      getDescriptor(rewriter, loc, converter, memref), wide);
}

int64_t FiberLowering::rowBytes(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  return ShapedType::getNumElements(type.getShape().drop_front()) *
         DataLayout::closest(kernel.function)
             .getTypeSize(converter.convertType(type.getElementType()))
             .getFixedValue();
}

/// Rows are contiguous and follow one another.
Value FiberLowering::rowAddress(Value memref, Value row) {
  auto type = cast<MemRefType>(memref.getType());
  Value base = MemRefDescriptor(getDescriptor(rewriter, loc, converter, memref))
                   .bufferPtr(rewriter, loc, converter, type);
  Value bytes =
      arith::MulIOp::create(rewriter, loc, toI64(row), i64(rowBytes(memref)));
  return LLVM::GEPOp::create(rewriter, loc, base.getType(),
                             rewriter.getI8Type(), base,
                             ArrayRef<LLVM::GEPArg>{bytes});
}

FailureOr<Value> FiberLowering::text(StringRef value) {
  return createStringConstant(rewriter, loc, value);
}

//===----------------------------------------------------------------------===//
// Blocks and subgroups
//===----------------------------------------------------------------------===//

LogicalResult FiberLowering::lower(gpu::BarrierOp op) {
  return replace(op, "barrier", "vi", nextSite());
}

LogicalResult FiberLowering::lower(NVVM::BarrierOp op) {
  if (op.getReductionOp() != NVVM::BarrierReduction::AND || op.getBarrierId() ||
      op.getNumberOfThreads())
    return op.emitOpError(
        "expects the reduction 'and' over a block in a kernel for fibers");
  return replace(op, "barrier_and", "iii",
                 {nextSite(), toI64(op.getReductionPredicate())});
}

LogicalResult FiberLowering::lower(NVVM::SyncWarpOp op) {
  return replace(op, "sync_subgroup", "vi", nextSite());
}

LogicalResult FiberLowering::lower(gpu::DynamicSharedMemoryOp op) {
  auto type = op.getType();
  Value start = LLVM::GEPOp::create(
      rewriter, loc, kernel.shared.getType(), rewriter.getI8Type(),
      kernel.shared,
      ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(kernel.staticBytes)});
  auto bytes =
      MemRefDescriptor::poison(rewriter, loc, converter.convertType(type));
  bytes.setAllocatedPtr(rewriter, loc, start);
  bytes.setAlignedPtr(rewriter, loc, start);
  bytes.setConstantOffset(rewriter, loc, 0);
  // Whoever views it knows how much there is.
  bytes.setConstantSize(rewriter, loc, 0, 0);
  bytes.setConstantStride(rewriter, loc, 0, 1);
  rewriter.replaceOpWithNewOp<UnrealizedConversionCastOp>(op, type,
                                                          Value(bytes));
  return success();
}

LogicalResult FiberLowering::lower(gpu::ShuffleOp op) {
  if (op.getMode() != gpu::ShuffleMode::IDX)
    return op.emitOpError("expects mode 'idx' in a kernel for fibers");
  Type type = op.getValue().getType();
  FailureOr<Value> result =
      call("shuffle", "iiii",
           {nextSite(), toI64(op.getValue()), toI64(op.getOffset())});
  if (failed(result))
    return failure();
  Value yes = arith::ConstantIntOp::create(rewriter, loc, 1, 1);
  rewriter.replaceOp(op, {fromI64(*result, type), yes});
  return success();
}

LogicalResult FiberLowering::lower(NVVM::VoteSyncOp op) {
  if (op.getKind() != NVVM::VoteSyncKind::ballot)
    return op.emitOpError("expects a ballot in a kernel for fibers");
  return replace(op, "ballot", "iii", {nextSite(), toI64(op.getPred())});
}

LogicalResult FiberLowering::lower(gpu::SubgroupReduceOp op) {
  if (op.getOp() != gpu::AllReduceOperation::ADD ||
      !op.getType().isInteger(32) || op.getClusterSize())
    return op.emitOpError("expects a sum of i32 in a kernel for fibers");
  return replace(op, "sum", "iii", {nextSite(), toI64(op.getValue())});
}

//===----------------------------------------------------------------------===//
// Grids and peers
//===----------------------------------------------------------------------===//

LogicalResult FiberLowering::lower(symm::GridBarrierOp op) {
  return replace(op, "grid_barrier", "ii", nextSite());
}

/// The signal itself is a store like those of host code. Other ranks get time
/// to go on before it, and after it: then everything has to be there.
LogicalResult FiberLowering::lower(symm::SignalOp op) {
  if (failed(call("pause", "v", {})))
    return failure();
  rewriter.setInsertionPointAfter(op);
  return failed(call("pause", "v", {})) ? failure() : success();
}

LogicalResult FiberLowering::lower(symm::WaitOp op) {
  FailureOr<Value> name = text(phase);
  if (failed(name))
    return failure();
  return replace(op, "wait", "iipiip",
                 {nextSite(), rowAddress(op.getFlags(), op.getIndex()),
                  op.getValue(), toI64(op.getPeer()), *name});
}

LogicalResult FiberLowering::lower(symm::PutEachOp op) {
  bool fromStage = symm::isStage(op.getSource().getType());
  Value to = op.getTo();
  Value there = op.getTarget();
  if (symm::isSymmetric(there.getType()))
    there = symm::PeerOp::create(rewriter, loc, there, op.getRank());
  Value exists = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::sge,
                                       toI64(to), i64(0));
  Value target = rowAddress(there, to);
  Value none = LLVM::ZeroOp::create(rewriter, loc, target.getType());
  target = arith::SelectOp::create(rewriter, loc, exists, target, none);
  Value source = rowAddress(op.getSource(), op.getFrom());
  Value bytes = i64(rowBytes(op.getSource()) * op.getRows());
  Value lanes = i64(op.getLanes());
  if (fromStage)
    return replace(op, "put_stage", "vippii",
                   {nextSite(), source, target, bytes, lanes});
  Value member = op.getMember() ? toI64(op.getMember()) : i64(0);
  return replace(op, "put_each", "vippiiiiii",
                 {nextSite(), source, target, bytes, lanes,
                  toI64(op.getRotation()), member, i64(op.getTeam()),
                  i64(op.getCoherent())});
}

//===----------------------------------------------------------------------===//
// Errors and phases
//===----------------------------------------------------------------------===//

LogicalResult FiberLowering::lower(symm::CheckOp op) {
  Value yes = arith::ConstantIntOp::create(rewriter, loc, 1, 1);
  Value fails = arith::XOrIOp::create(rewriter, loc, op.getCondition(), yes);
  auto branch = scf::IfOp::create(rewriter, loc, fails);
  rewriter.setInsertionPointToStart(branch.thenBlock());
  FailureOr<Value> what = text(op.getWhat()), name = text(phase);
  if (failed(what) || failed(name))
    return failure();
  auto widened = [&](Value value) { return value ? toI64(value) : i64(-1); };
  Value least = op.getLeast() ? op.getLeast() : i64(INT64_MIN);
  return replace(op, "record", "vippiiiiii",
                 {i64(static_cast<int64_t>(op.getFailure())), *what, *name,
                  least, op.getExpected(), op.getSeen(), widened(op.getPeer()),
                  widened(op.getToken()), widened(op.getSlot())});
}

LogicalResult FiberLowering::lower(symm::FailedOp op) {
  return replace(op, "failed", "i", {});
}

LogicalResult FiberLowering::lower(symm::PostOp op) {
  return replace(op, "post", "vpii",
                 {rowAddress(op.getWords(), op.getIndex()), op.getEpoch(),
                  toI64(op.getValue())});
}

LogicalResult FiberLowering::lower(symm::CollectOp op) {
  FailureOr<Value> name = text(phase);
  if (failed(name))
    return failure();
  FailureOr<Value> word =
      call("collect", "iipip",
           {nextSite(), rowAddress(op.getWords(), op.getIndex()), op.getEpoch(),
            *name});
  if (failed(word))
    return failure();
  Value tag = arith::ShRUIOp::create(rewriter, loc, *word, i64(32));
  Type tagType = rewriter.getI32Type();
  Value isPosted = arith::CmpIOp::create(
      rewriter, loc, arith::CmpIPredicate::eq, fromI64(tag, tagType),
      fromI64(op.getEpoch(), tagType));
  rewriter.replaceOp(op, {fromI64(*word, tagType), isPosted});
  return success();
}

LogicalResult FiberLowering::lower(symm::TakeOp op) {
  return replace(op, "take", "ip", rowAddress(op.getCounters(), op.getIndex()));
}

/// No other fiber runs in between.
LogicalResult FiberLowering::lower(symm::MarkOp op) {
  Value word =
      memref::LoadOp::create(rewriter, loc, op.getWords(), op.getIndex());
  Value marked = arith::OrIOp::create(rewriter, loc, word, op.getBits());
  rewriter.replaceOpWithNewOp<memref::StoreOp>(op, marked, op.getWords(),
                                               op.getIndex());
  return success();
}

LogicalResult FiberLowering::lower(symm::PhaseOp op) {
  phase = op.getPhase().str();
  rewriter.eraseOp(op);
  return success();
}

LogicalResult FiberLowering::lower(Operation *op) {
  rewriter.setInsertionPoint(op);
  loc = op->getLoc();
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<gpu::BarrierOp, gpu::DynamicSharedMemoryOp, gpu::ShuffleOp,
            gpu::SubgroupReduceOp, NVVM::BarrierOp, NVVM::SyncWarpOp,
            NVVM::VoteSyncOp, symm::BulkFenceOp, symm::CheckOp, symm::CollectOp,
            symm::FailedOp, symm::FetchOp, symm::GridBarrierOp, symm::MarkOp,
            symm::PhaseOp, symm::PostOp, symm::PutEachOp, symm::PutWaitOp,
            symm::SignalOp, symm::StageArriveOp, symm::StageExpectOp,
            symm::StageInitOp, symm::StageWaitOp, symm::TakeOp, symm::WaitOp>(
          [&](auto op) { return lower(op); })
      .Case([&](symm::JoinLoadsOp op) {
        // A fiber waits for each load.
        rewriter.replaceOp(op, op.getValues());
        return success();
      })
      // As in host code.
      .Case<symm::NextEpochOp, symm::PeerOp, symm::RankOp>(
          [](Operation *) { return success(); })
      .Default([](Operation *op) {
        return op->emitOpError("is not supported in a kernel for fibers");
      });
}

LogicalResult FiberLowering::run() {
  // In the order of the text: a phase begins where its op stands.
  SmallVector<Operation *> ops;
  kernel.function.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa_and_present<symm::SymmDialect, gpu::GPUDialect, NVVM::NVVMDialect>(
            op->getDialect()))
      ops.push_back(op);
  });
  for (Operation *op : ops)
    if (failed(lower(op)))
      return failure();
  return success();
}
