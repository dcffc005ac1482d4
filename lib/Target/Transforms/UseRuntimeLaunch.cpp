//===- UseRuntimeLaunch.cpp - Launch and copy with the runtime ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/FunctionCallUtils.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Transforms/DialectConversion.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEUSERUNTIMELAUNCHPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

static Value createI64(OpBuilder &builder, Location loc, int64_t value) {
  return LLVM::ConstantOp::create(builder, loc, builder.getI64Type(),
                                  builder.getI64IntegerAttr(value));
}

/// Address of the zero-terminated name of a kernel.
static Value createName(OpBuilder &builder, Location loc, ModuleOp module,
                        StringAttr kernel) {
  std::string symbol = ("moe_kernel_name_" + kernel.getValue()).str();
  if (!module.lookupSymbol(symbol)) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(module.getBody());
    std::string text = (kernel.getValue() + Twine('\0')).str();
    auto type =
        LLVM::LLVMArrayType::get(builder.getIntegerType(8), text.size());
    LLVM::GlobalOp::create(builder, loc, type, /*isConstant=*/true,
                           LLVM::Linkage::Internal, symbol,
                           builder.getStringAttr(text));
  }
  return LLVM::AddressOfOp::create(
      builder, loc, LLVM::LLVMPointerType::get(builder.getContext()), symbol);
}

/// Null before the kernel is in the LLVM dialect.
static LLVM::LLVMFuncOp lookupKernel(gpu::LaunchFuncOp launch) {
  return SymbolTable::lookupNearestSymbolFrom<LLVM::LLVMFuncOp>(
      launch, launch.getKernel());
}

/// Drops the parameters that `kernel` does not use: most of what memrefs of
/// known shape expand to. A multiprocessor fetches parameters line by line when
/// it first reads them, and the launch copies them.
static void eraseUnusedParameters(LLVM::LLVMFuncOp kernel) {
  llvm::BitVector unused(kernel.getNumArguments());
  SmallVector<Type> used;
  for (BlockArgument argument : kernel.getArguments()) {
    if (argument.use_empty())
      unused.set(argument.getArgNumber());
    else
      used.push_back(argument.getType());
  }
  // `eraseArguments` refuses functions of the LLVM dialect without results.
  function_interface_impl::eraseFunctionArguments(
      kernel, unused,
      LLVM::LLVMFunctionType::get(kernel.getFunctionType().getReturnType(),
                                  used));
}

/// Memory for `count` values in the frame of the function around `op`: in its
/// first block, so that a loop does not grow the stack.
static Value createSlot(OpBuilder &builder, Operation *op, Type type,
                        int64_t count) {
  OpBuilder::InsertionGuard guard(builder);
  auto function = op->getParentOfType<FunctionOpInterface>();
  builder.setInsertionPointToStart(&function.getFunctionBody().front());
  return LLVM::AllocaOp::create(
      builder, op->getLoc(), LLVM::LLVMPointerType::get(builder.getContext()),
      type, createI64(builder, op->getLoc(), count));
}

namespace {

struct LaunchFuncOpLowering : public ConvertOpToLLVMPattern<gpu::LaunchFuncOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(gpu::LaunchFuncOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto module = op->getParentOfType<ModuleOp>();
    Type i64 = rewriter.getI64Type();
    Type pointer = LLVM::LLVMPointerType::get(rewriter.getContext());
    if (op.getAsyncToken() || op.hasClusterSize())
      return rewriter.notifyMatchFailure(op, "asynchronous or with clusters");

    // The kernel's parameters in the order of its signature.
    SmallVector<Value, 4> params = getTypeConverter()->promoteOperands(
        loc, op.getKernelOperands(), adaptor.getKernelOperands(), rewriter);
    if (LLVM::LLVMFuncOp kernel = lookupKernel(op)) {
      if (params.size() != kernel.getNumArguments())
        return rewriter.notifyMatchFailure(op, "other parameters");
      SmallVector<Value, 4> used;
      for (auto [param, argument] : llvm::zip(params, kernel.getArguments()))
        if (!argument.use_empty())
          used.push_back(param);
      params = std::move(used);
    }
    Value slots = createSlot(rewriter, op, pointer,
                             std::max<int64_t>(1, int64_t(params.size())));
    for (auto [index, param] : llvm::enumerate(params)) {
      Value slot = createSlot(rewriter, op, param.getType(), 1);
      LLVM::StoreOp::create(rewriter, loc, param, slot);
      Value entry = LLVM::GEPOp::create(
          rewriter, loc, pointer, pointer, slots,
          ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(index)});
      LLVM::StoreOp::create(rewriter, loc, slot, entry);
    }

    FailureOr<LLVM::LLVMFuncOp> launch = LLVM::lookupOrCreateFn(
        rewriter, module, "moert_launch", {pointer, i64, i64, i64, pointer},
        LLVM::LLVMVoidType::get(rewriter.getContext()));
    if (failed(launch))
      return failure();
    Value sharedBytes = createI64(rewriter, loc, 0);
    if (Value bytes = adaptor.getDynamicSharedMemorySize())
      sharedBytes = LLVM::ZExtOp::create(rewriter, loc, i64, bytes);
    LLVM::CallOp::create(
        rewriter, loc, *launch,
        ValueRange{createName(rewriter, loc, module, op.getKernelName()),
                   adaptor.getGridSizeX(), adaptor.getBlockSizeX(), sharedBytes,
                   slots});
    rewriter.eraseOp(op);
    return success();
  }
};

/// Copies between memrefs that are one block of memory each.
struct CopyOpLowering : public ConvertOpToLLVMPattern<memref::CopyOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(memref::CopyOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto type = dyn_cast<MemRefType>(op.getSource().getType());
    auto targetType = dyn_cast<MemRefType>(op.getTarget().getType());
    if (!type || !targetType)
      return rewriter.notifyMatchFailure(op, "unranked");
    Type i64 = rewriter.getI64Type();
    Type pointer = LLVM::LLVMPointerType::get(rewriter.getContext());
    FailureOr<LLVM::LLVMFuncOp> copy =
        LLVM::lookupOrCreateFn(rewriter, op->getParentOfType<ModuleOp>(),
                               "moert_copy", {pointer, pointer, i64},
                               LLVM::LLVMVoidType::get(rewriter.getContext()));
    if (failed(copy))
      return failure();
    MemRefDescriptor source(adaptor.getSource()), target(adaptor.getTarget());
    Value bytes = getSizeInBytes(loc, type.getElementType(), rewriter);
    if (bytes.getType() != i64)
      return rewriter.notifyMatchFailure(op, "index is not i64");
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      bytes = LLVM::MulOp::create(rewriter, loc, bytes,
                                  source.size(rewriter, loc, dim));
    LLVM::CallOp::create(
        rewriter, loc, *copy,
        ValueRange{
            target.bufferPtr(rewriter, loc, *getTypeConverter(), targetType),
            source.bufferPtr(rewriter, loc, *getTypeConverter(), type), bytes});
    rewriter.eraseOp(op);
    return success();
  }
};

/// A value that host code computes with.
struct LoadOpLowering : public ConvertOpToLLVMPattern<memref::LoadOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(memref::LoadOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Type pointer = LLVM::LLVMPointerType::get(rewriter.getContext());
    Type type = getTypeConverter()->convertType(op.getType());
    FailureOr<LLVM::LLVMFuncOp> read = LLVM::lookupOrCreateFn(
        rewriter, op->getParentOfType<ModuleOp>(), "moert_read",
        {pointer, pointer, rewriter.getI64Type()},
        LLVM::LLVMVoidType::get(rewriter.getContext()));
    if (failed(read) || !type)
      return failure();
    Value slot = createSlot(rewriter, op, type, 1);
    Value address =
        getStridedElementPtr(rewriter, loc, op.getMemRefType(),
                             adaptor.getMemref(), adaptor.getIndices());
    Value bytes = getSizeInBytes(loc, op.getType(), rewriter);
    LLVM::CallOp::create(rewriter, loc, *read,
                         ValueRange{slot, address, bytes});
    rewriter.replaceOpWithNewOp<LLVM::LoadOp>(op, type, slot);
    return success();
  }
};

struct MoEUseRuntimeLaunchPass
    : public moe::impl::MoEUseRuntimeLaunchPassBase<MoEUseRuntimeLaunchPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    // Grids are one-dimensional: the runtime sizes them.
    WalkResult shapes = module.walk([](gpu::LaunchFuncOp launch) {
      for (Value size : {launch.getGridSizeY(), launch.getGridSizeZ(),
                         launch.getBlockSizeY(), launch.getBlockSizeZ()})
        if (getConstantIntValue(size) != 1) {
          launch.emitOpError("expects a grid and blocks of one dimension");
          return WalkResult::interrupt();
        }
      return WalkResult::advance();
    });
    if (shapes.wasInterrupted())
      return signalPassFailure();
    llvm::SetVector<LLVM::LLVMFuncOp> kernels;
    module.walk([&](gpu::LaunchFuncOp launch) {
      if (LLVM::LLVMFuncOp kernel = lookupKernel(launch))
        kernels.insert(kernel);
    });

    LLVMTypeConverter converter(&getContext());
    RewritePatternSet patterns(&getContext());
    patterns.add<LaunchFuncOpLowering, CopyOpLowering, LoadOpLowering>(
        converter);
    ConversionTarget target(getContext());
    target.addIllegalOp<gpu::LaunchFuncOp, memref::CopyOp, memref::LoadOp>();
    target.addDynamicallyLegalOp<gpu::GPUModuleOp>(
        [](Operation *) { return true; });
    target.markOpRecursivelyLegal<gpu::GPUModuleOp>();
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    if (failed(applyPartialConversion(module, target, std::move(patterns))))
      return signalPassFailure();
    for (LLVM::LLVMFuncOp kernel : kernels)
      eraseUnusedParameters(kernel);
  }
};

} // namespace
