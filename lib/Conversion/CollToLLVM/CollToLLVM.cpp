//===- CollToLLVM.cpp - coll dialect to LLVM dialect ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/CollToLLVM/CollToLLVM.h"

#include "../SymmToLLVM/MemoryLowering.h"
#include "../SymmToLLVM/RuntimeCalls.h"
#include "moe-mlir/Conversion/Passes.h"
#include "moe-mlir/Dialect/Coll/IR/Coll.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Transforms/DialectConversion.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTCOLLTOLLVMPASS
#include "moe-mlir/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

template <typename OpTy>
struct CollOpLowering : public ConvertOpToLLVMPattern<OpTy> {
  using ConvertOpToLLVMPattern<OpTy>::ConvertOpToLLVMPattern;

protected:
  /// Address of the first element of a memref.
  Value createAddress(OpBuilder &builder, Value memref,
                      Value descriptor) const {
    return MemRefDescriptor(descriptor)
        .bufferPtr(builder, memref.getLoc(), *this->getTypeConverter(),
                   cast<MemRefType>(memref.getType()));
  }

  /// Bytes of a row of `memref`: everything below the leading dimension.
  int64_t getRowBytes(Operation *op, Value memref) const {
    auto type = cast<MemRefType>(memref.getType());
    int64_t elementBytes =
        DataLayout::closest(op)
            .getTypeSize(
                this->getTypeConverter()->convertType(type.getElementType()))
            .getFixedValue();
    return ShapedType::getNumElements(type.getShape().drop_front()) *
           elementBytes;
  }

  int64_t getNumBytes(Operation *op, Value memref) const {
    return cast<MemRefType>(memref.getType()).getDimSize(0) *
           getRowBytes(op, memref);
  }

  LogicalResult replaceByCall(Operation *op, RuntimeFunction function,
                              ValueRange args,
                              ConversionPatternRewriter &rewriter) const {
    if (failed(callRuntime(rewriter, op->getLoc(), function, args)))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.eraseOp(op);
    return success();
  }
};

struct AllGatherOpLowering : public CollOpLowering<coll::AllGatherOp> {
  using CollOpLowering::CollOpLowering;

  LogicalResult
  matchAndRewrite(coll::AllGatherOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    int64_t rows = cast<MemRefType>(op.getSend().getType()).getDimSize(0);
    Value bytes =
        createI64(rewriter, op.getLoc(), rows * getRowBytes(op, op.getSend()));
    return replaceByCall(
        op, RuntimeFunction::AllGather,
        {createAddress(rewriter, op.getSend(), adaptor.getSend()),
         createAddress(rewriter, op.getRecv(), adaptor.getRecv()), bytes},
        rewriter);
  }
};

struct AllToAllOpLowering : public CollOpLowering<coll::AllToAllOp> {
  using CollOpLowering::CollOpLowering;

  LogicalResult
  matchAndRewrite(coll::AllToAllOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Value bytes =
        createI64(rewriter, op.getLoc(), getRowBytes(op, op.getSend()));
    return replaceByCall(
        op, RuntimeFunction::AllToAll,
        {createAddress(rewriter, op.getSend(), adaptor.getSend()),
         createAddress(rewriter, op.getRecv(), adaptor.getRecv()), bytes},
        rewriter);
  }
};

struct RowsOpLowering : public CollOpLowering<coll::RowsOp> {
  using CollOpLowering::CollOpLowering;

  LogicalResult
  matchAndRewrite(coll::RowsOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    SmallVector<Value> args;
    for (auto [memref, descriptor] :
         llvm::zip_equal(op->getOperands(), adaptor.getOperands()))
      args.push_back(createAddress(rewriter, memref, descriptor));
    args.push_back(
        createI64(rewriter, op.getLoc(), getRowBytes(op, op.getSend())));
    return replaceByCall(op, RuntimeFunction::ExchangeRows, args, rewriter);
  }
};

/// What is in the region moves out of it, between two calls.
struct ExchangeOpLowering : public CollOpLowering<coll::ExchangeOp> {
  using CollOpLowering::CollOpLowering;

  LogicalResult
  matchAndRewrite(coll::ExchangeOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    if (failed(
            callRuntime(rewriter, op.getLoc(), RuntimeFunction::ExchangeBegin)))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.inlineBlockBefore(&op.getBody().front(), op);
    return replaceByCall(op, RuntimeFunction::ExchangeEnd, {}, rewriter);
  }
};

struct TableOpLowering : public CollOpLowering<coll::TableOp> {
  using CollOpLowering::CollOpLowering;

  LogicalResult
  matchAndRewrite(coll::TableOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    FailureOr<Value> address =
        createTableConstant(rewriter, op.getLoc(), op.getNumbers());
    if (failed(address))
      return rewriter.notifyMatchFailure(op, "clash with a constant");
    rewriter.replaceOp(op, Value(MemRefDescriptor::fromStaticShape(
                               rewriter, op.getLoc(), *getTypeConverter(),
                               op.getTable().getType(), *address)));
    return success();
  }
};

/// Both are host memory on every target.
struct CopyTableOpLowering : public CollOpLowering<coll::CopyTableOp> {
  using CollOpLowering::CollOpLowering;

  LogicalResult
  matchAndRewrite(coll::CopyTableOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Value bytes =
        createI64(rewriter, op.getLoc(), getNumBytes(op, op.getTable()));
    rewriter.replaceOpWithNewOp<LLVM::MemcpyOp>(
        op, createAddress(rewriter, op.getTarget(), adaptor.getTarget()),
        createAddress(rewriter, op.getTable(), adaptor.getTable()), bytes,
        /*isVolatile=*/false);
    return success();
  }
};

/// All bits of -1 are set.
struct ClearTableOpLowering : public CollOpLowering<coll::ClearTableOp> {
  using CollOpLowering::CollOpLowering;

  LogicalResult
  matchAndRewrite(coll::ClearTableOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Value ones = LLVM::ConstantOp::create(
        rewriter, op.getLoc(), rewriter.getI8Type(),
        rewriter.getIntegerAttr(rewriter.getI8Type(), -1));
    Value bytes =
        createI64(rewriter, op.getLoc(), getNumBytes(op, op.getTable()));
    rewriter.replaceOpWithNewOp<LLVM::MemsetOp>(
        op, createAddress(rewriter, op.getTable(), adaptor.getTable()), ones,
        bytes, /*isVolatile=*/false);
    return success();
  }
};

struct TableEndOpLowering : public CollOpLowering<coll::TableEndOp> {
  using CollOpLowering::CollOpLowering;

  LogicalResult
  matchAndRewrite(coll::TableEndOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value ranks =
        createI64(rewriter, loc,
                  cast<MemRefType>(op.getStarts().getType()).getDimSize(0));
    FailureOr<Value> end = callRuntime(
        rewriter, loc, RuntimeFunction::TableEnd,
        {createAddress(rewriter, op.getStarts(), adaptor.getStarts()),
         createAddress(rewriter, op.getCounts(), adaptor.getCounts()), ranks,
         adaptor.getLimit()});
    if (failed(end))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.replaceOp(op, *end);
    return success();
  }
};

/// Where buffers are host memory, so is a table.
struct HostReadOpLowering : public OpConversionPattern<coll::ReadOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult
  matchAndRewrite(coll::ReadOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, op.getTable());
    return success();
  }
};

struct DeviceReadOpLowering : public CollOpLowering<coll::ReadOp> {
  using CollOpLowering::CollOpLowering;

  LogicalResult
  matchAndRewrite(coll::ReadOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    auto type = cast<MemRefType>(op.getTable().getType());
    Value slot = createSlot(op, type, rewriter);
    Value bytes =
        createI64(rewriter, op.getLoc(), getNumBytes(op, op.getTable()));
    Value table = createAddress(rewriter, op.getTable(), adaptor.getTable());
    if (failed(callRuntime(rewriter, op.getLoc(), RuntimeFunction::Read,
                           {slot, table, bytes})))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.replaceOp(
        op, Value(MemRefDescriptor::fromStaticShape(
                rewriter, op.getLoc(), *getTypeConverter(), type, slot)));
    return success();
  }

private:
  /// In the first block of the function, so that a loop does not grow the
  /// stack.
  Value createSlot(coll::ReadOp op, MemRefType type,
                   ConversionPatternRewriter &rewriter) const {
    OpBuilder::InsertionGuard guard(rewriter);
    auto function = op->getParentOfType<FunctionOpInterface>();
    rewriter.setInsertionPointToStart(&function.getFunctionBody().front());
    return LLVM::AllocaOp::create(
        rewriter, op.getLoc(),
        LLVM::LLVMPointerType::get(rewriter.getContext()),
        getTypeConverter()->convertType(type.getElementType()),
        createI64(rewriter, op.getLoc(), type.getNumElements()));
  }
};

struct ConvertCollToLLVMPass
    : public moe::impl::ConvertCollToLLVMPassBase<ConvertCollToLLVMPass> {
  using ConvertCollToLLVMPassBase::ConvertCollToLLVMPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (target != "host" && target != "cuda") {
      module.emitError("convert-coll-to-llvm expects 'target' to be host or "
                       "cuda (")
          << target << ")";
      return signalPassFailure();
    }
    if (failed(checkRuntimeNames(module)))
      return signalPassFailure();
    LLVMTypeConverter converter(&getContext());
    RewritePatternSet patterns(&getContext());
    populateCollToLLVMConversionPatterns(converter, patterns, target == "cuda");
    ConversionTarget target(getContext());
    target.addIllegalDialect<coll::CollDialect>();
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    if (failed(applyPartialConversion(module, target, std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

void moe::populateCollToLLVMConversionPatterns(
    const LLVMTypeConverter &converter, RewritePatternSet &patterns,
    bool hasDevice) {
  patterns.add<AllGatherOpLowering, AllToAllOpLowering, RowsOpLowering,
               ExchangeOpLowering, TableOpLowering, CopyTableOpLowering,
               ClearTableOpLowering, TableEndOpLowering>(converter);
  if (hasDevice)
    patterns.add<DeviceReadOpLowering>(converter);
  else
    patterns.add<HostReadOpLowering>(patterns.getContext());
}
