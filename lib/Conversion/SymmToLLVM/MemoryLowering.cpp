//===- MemoryLowering.cpp - symmetric buffers and results to LLVM
//----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MemoryLowering.h"

#include "RuntimeCalls.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Transforms/DialectConversion.h"

using namespace mlir;
using namespace mlir::moe;

/// Alignment, in bytes, of results that the runtime allocates: a cache line.
static constexpr int64_t kResultAlignment = 64;

Value moe::createI64(OpBuilder &builder, Location loc, int64_t value) {
  return LLVM::ConstantOp::create(builder, loc, builder.getI64Type(),
                                  builder.getI64IntegerAttr(value));
}

Value moe::createByteOffset(OpBuilder &builder, Location loc, Value ptr,
                            Value bytes) {
  return LLVM::GEPOp::create(builder, loc, ptr.getType(), builder.getI8Type(),
                             ptr, ArrayRef<LLVM::GEPArg>{bytes});
}

namespace {

struct AllocOpLowering : public ConvertOpToLLVMPattern<symm::AllocOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(symm::AllocOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    if (!op.getOffset())
      return rewriter.notifyMatchFailure(op, "no offset");
    FailureOr<Value> ptr = createAddress(op, rewriter);
    if (failed(ptr))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.replaceOp(
        op, Value(MemRefDescriptor::fromStaticShape(
                rewriter, loc, *getTypeConverter(), op.getType(), *ptr)));
    return success();
  }

private:
  FailureOr<Value> createAddress(symm::AllocOp op, OpBuilder &builder) const {
    Location loc = op.getLoc();
    Value offset = createI64(builder, loc, *op.getOffset());
    if (std::optional<uint64_t> index = op.getResultIndex()) {
      MemRefType type = op.getType();
      int64_t elementBytes = DataLayout::closest(op)
                                 .getTypeSize(getTypeConverter()->convertType(
                                     type.getElementType()))
                                 .getFixedValue();
      Value bytes =
          createI64(builder, loc, type.getNumElements() * elementBytes);
      return callRuntime(builder, loc, RuntimeFunction::SymmResult,
                         {createI64(builder, loc, *index), offset, bytes});
    }
    FailureOr<Value> base =
        callRuntime(builder, loc, RuntimeFunction::SymmBase);
    if (failed(base))
      return failure();
    return createByteOffset(builder, loc, *base, offset);
  }
};

struct AllocResultOpLowering
    : public ConvertOpToLLVMPattern<symm::AllocResultOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(symm::AllocResultOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto type = cast<MemRefType>(op.getBuffer().getType());
    SmallVector<Value> sizes, strides;
    Value bytes;
    getMemRefDescriptorSizes(loc, type, adaptor.getSizes(), rewriter, sizes,
                             strides, bytes);
    FailureOr<Value> ptr =
        callRuntime(rewriter, loc, RuntimeFunction::AllocResult,
                    {createI64(rewriter, loc, op.getIndex()), bytes,
                     createI64(rewriter, loc, kResultAlignment)});
    if (failed(ptr))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.replaceOp(op,
                       Value(createMemRefDescriptor(loc, type, *ptr, *ptr,
                                                    sizes, strides, rewriter)));
    return success();
  }
};

struct FreeOpLowering : public ConvertOpToLLVMPattern<symm::FreeOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;

  LogicalResult
  matchAndRewrite(symm::FreeOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void moe::populateSymmMemoryPatterns(const LLVMTypeConverter &converter,
                                     RewritePatternSet &patterns) {
  patterns.add<AllocOpLowering, AllocResultOpLowering, FreeOpLowering>(
      converter);
}
