//===- StageLowering.cpp - bulk copies through workgroup memory -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceLibrary.h"
#include "KernelLowering.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::moe;

Value KernelLowering::elementAddress(Value buffer, ValueRange indices) {
  auto type = cast<MemRefType>(buffer.getType());
  Value descriptor = UnrealizedConversionCastOp::create(
                         rewriter, loc, converter.convertType(type), buffer)
                         .getResult(0);
  SmallVector<Value> wide;
  for (Value index : indices)
    wide.push_back(toI64(index));
  return LLVM::getStridedElementPtr(rewriter, loc, converter, type, descriptor,
                                    wide);
}

Value KernelLowering::counterAddress(Value counters, Value index) {
  return elementAddress(counters, index);
}

void KernelLowering::lower(symm::StageInitOp op) {
  int64_t count = cast<MemRefType>(op.getCounters().getType()).getNumElements();
  for (int64_t i = 0; i < count; ++i) {
    Value index = arith::ConstantIndexOp::create(rewriter, loc, i);
    NVVM::MBarrierInitOp::create(
        rewriter, loc, counterAddress(op.getCounters(), index),
        i32(static_cast<int32_t>(op.getArrivals())), /*predicate=*/Value());
  }
  // Bulk copies see the counters too.
  NVVM::FenceMbarrierInitOp::create(rewriter, loc);
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::StageExpectOp op) {
  Value counter = counterAddress(op.getCounters(), op.getIndex());
  LLVM::InlineAsmOp::create(
      rewriter, loc, TypeRange(), ValueRange{counter, toI32(op.getBytes())},
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "r,r,~{memory}",
      /*has_side_effects=*/true, /*is_align_stack=*/false,
      LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr());
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::StageArriveOp op) {
  Value counter = counterAddress(op.getCounters(), op.getIndex());
  LLVM::InlineAsmOp::create(
      rewriter, loc, TypeRange(), ValueRange{counter},
      "mbarrier.arrive.shared::cta.b64 _, [$0];", "r,~{memory}",
      /*has_side_effects=*/true, /*is_align_stack=*/false,
      LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr());
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::StageWaitOp op) {
  Value counter = counterAddress(op.getCounters(), op.getIndex());
  Value what =
      i32(strings.getIndex(rewriter.getStringAttr("bytes of a stage")));
  call(kStageWaitName, {},
       {counter, toI32(op.getParity()), timeout, status, siteNumber(),
        phaseIndex(), what});
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::FetchOp op) {
  auto stageType = cast<MemRefType>(op.getStage().getType());
  SmallVector<Value> start(stageType.getRank(),
                           arith::ConstantIndexOp::create(rewriter, loc, 0));
  start.front() = op.getSlot();
  Value to = elementAddress(op.getStage(), start);
  Value from = toGlobal(elementAddress(op.getSource(), op.getIndices()));
  Value counter = counterAddress(op.getCounters(), op.getCounter());
  // Every block is a cluster of its own, in which its addresses are the same.
  Type cluster = LLVM::LLVMPointerType::get(
      rewriter.getContext(),
      static_cast<unsigned>(NVVM::NVVMMemorySpace::SharedCluster));
  to = LLVM::AddrSpaceCastOp::create(rewriter, loc, cluster, to);
  NVVM::CpAsyncBulkGlobalToSharedClusterOp::create(
      rewriter, loc, to, from, counter,
      i32(static_cast<int32_t>(rowBytes(stageType))),
      /*multicastMask=*/Value(), /*l2CacheHint=*/Value());
  rewriter.eraseOp(op);
}

/// Each lane copies to its own destination. An empty group is finished at once,
/// so that all lanes count the same groups.
void KernelLowering::putStage(symm::PutEachOp op) {
  auto sourceType = cast<MemRefType>(op.getSource().getType());
  SmallVector<Value> start(sourceType.getRank(),
                           arith::ConstantIndexOp::create(rewriter, loc, 0));
  start.front() = op.getFrom();
  Value source = elementAddress(op.getSource(), start);
  Value target = targetAddress(op);
  Value lane = NVVM::LaneIdOp::create(rewriter, loc, rewriter.getI32Type());
  Value isLane =
      arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::ult, lane,
                            i32(static_cast<int32_t>(op.getLanes())));
  Value exists = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::sge,
                                       toI64(op.getTo()), i64(0));
  auto branch = scf::IfOp::create(
      rewriter, loc, arith::AndIOp::create(rewriter, loc, isLane, exists));
  {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointToStart(branch.thenBlock());
    NVVM::CpAsyncBulkSharedCTAToGlobalOp::create(
        rewriter, loc, target, source,
        i32(static_cast<int32_t>(rowBytes(sourceType))),
        /*l2CacheHint=*/Value(), /*byteMask=*/Value());
  }
  NVVM::CpAsyncBulkCommitGroupOp::create(rewriter, loc);
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::PutWaitOp op) {
  NVVM::CpAsyncBulkWaitGroupOp::create(
      rewriter, loc, static_cast<uint32_t>(op.getPending()),
      op.getRead() ? rewriter.getUnitAttr() : UnitAttr());
  if (!op.getRead())
    NVVM::FenceProxyOp::create(rewriter, loc, NVVM::ProxyKind::async,
                               NVVM::SharedSpaceAttr());
  NVVM::SyncWarpOp::create(rewriter, loc, i32(-1));
  rewriter.eraseOp(op);
}

void KernelLowering::lower(symm::BulkFenceOp op) {
  NVVM::FenceProxyOp::create(rewriter, loc, NVVM::ProxyKind::async,
                             NVVM::SharedSpaceAttr());
  rewriter.eraseOp(op);
}
