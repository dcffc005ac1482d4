//===- FiberLowering.h - ops of kernels that fibers execute -----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_KERNELSTOFIBERS_FIBERLOWERING_H
#define MOE_LIB_CONVERSION_KERNELSTOFIBERS_FIBERLOWERING_H

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::moe {

/// A kernel that is now a function of one thread.
struct FiberKernel {
  func::FuncOp function;
  /// The memory of the block, and where the dynamic part of it begins.
  Value shared;
  int64_t staticBytes = 0;
};

/// The descriptor of `memref`, as a value of the LLVM dialect.
Value getDescriptor(OpBuilder &builder, Location loc,
                    const LLVMTypeConverter &converter, Value memref);

/// Calls `moe_fiber_<name>`. `types` has one letter for the result and each
/// argument: v void, p pointer, i i64.
FailureOr<Value> callFibers(OpBuilder &builder, Location loc, StringRef name,
                            StringRef types, ValueRange args);

/// Replaces the ops of kernels by calls of the fiber library. `site` numbers
/// the places where threads meet.
class FiberLowering {
public:
  FiberLowering(FiberKernel kernel, const LLVMTypeConverter &converter,
                int64_t &site)
      : rewriter(kernel.function.getContext()), kernel(kernel),
        converter(converter), site(site), loc(kernel.function.getLoc()) {}

  LogicalResult run();

private:
  LogicalResult lower(Operation *op);
  LogicalResult lower(gpu::BarrierOp op);
  LogicalResult lower(gpu::DynamicSharedMemoryOp op);
  LogicalResult lower(gpu::ShuffleOp op);
  LogicalResult lower(gpu::SubgroupReduceOp op);
  LogicalResult lower(NVVM::BarrierOp op);
  LogicalResult lower(NVVM::SyncWarpOp op);
  LogicalResult lower(NVVM::VoteSyncOp op);
  LogicalResult lower(symm::BulkFenceOp op);
  LogicalResult lower(symm::CheckOp op);
  LogicalResult lower(symm::FailedOp op);
  LogicalResult lower(symm::PostOp op);
  LogicalResult lower(symm::CollectOp op);
  LogicalResult lower(symm::TakeOp op);
  LogicalResult lower(symm::MarkOp op);
  LogicalResult lower(symm::FetchOp op);
  LogicalResult lower(symm::GridBarrierOp op);
  LogicalResult lower(symm::PhaseOp op);
  LogicalResult lower(symm::PutEachOp op);
  LogicalResult lower(symm::PutWaitOp op);
  LogicalResult lower(symm::SignalOp op);
  LogicalResult lower(symm::StageArriveOp op);
  LogicalResult lower(symm::StageExpectOp op);
  LogicalResult lower(symm::StageInitOp op);
  LogicalResult lower(symm::StageWaitOp op);
  LogicalResult lower(symm::WaitOp op);

  Value i64(int64_t value);
  Value toI64(Value value);
  Value fromI64(Value value, Type type);
  Value nextSite() { return i64(site++); }
  Value address(Value memref, ValueRange indices);
  Value rowAddress(Value memref, Value row);
  int64_t rowBytes(Value memref);
  FailureOr<Value> text(StringRef value);
  FailureOr<Value> call(StringRef name, StringRef types, ValueRange args) {
    return callFibers(rewriter, loc, name, types, args);
  }
  /// Calls a function without a result in place of `op`.
  LogicalResult replace(Operation *op, StringRef name, StringRef types,
                        ValueRange args);

  IRRewriter rewriter;
  FiberKernel kernel;
  const LLVMTypeConverter &converter;
  int64_t &site;
  Location loc;
  std::string phase = "kernel";
};

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_KERNELSTOFIBERS_FIBERLOWERING_H
