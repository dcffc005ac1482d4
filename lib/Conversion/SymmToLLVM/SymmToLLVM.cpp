//===- SymmToLLVM.cpp - symm dialect to LLVM dialect ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"

#include "MemoryLowering.h"
#include "RuntimeCalls.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Transforms/DialectConversion.h"

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

/// What lies at `ptr` on this rank, on rank `rank`.
static FailureOr<Value> createPeerAddress(OpBuilder &builder, Location loc,
                                          Value ptr, Value rank) {
  FailureOr<Value> me = callRuntime(builder, loc, RuntimeFunction::Rank);
  FailureOr<Value> stride =
      callRuntime(builder, loc, RuntimeFunction::SymmStride);
  if (failed(me) || failed(stride))
    return failure();
  Value ranks = LLVM::SubOp::create(builder, loc, rank, *me);
  Value bytes = LLVM::MulOp::create(builder, loc, ranks, *stride);
  return createByteOffset(builder, loc, ptr, bytes);
}

namespace {

template <typename OpTy>
struct SymmOpLowering : public ConvertOpToLLVMPattern<OpTy> {
  using ConvertOpToLLVMPattern<OpTy>::ConvertOpToLLVMPattern;

protected:
  /// Address of row `row` of the memref `descriptor`; rows are contiguous.
  Value createRowAddress(OpBuilder &builder, Location loc, MemRefType type,
                         Value descriptor, Value row) const {
    Value base = MemRefDescriptor(descriptor)
                     .bufferPtr(builder, loc, *this->getTypeConverter(), type);
    Value elements = LLVM::MulOp::create(
        builder, loc, row, createI64(builder, loc, getRowElements(type)));
    return LLVM::GEPOp::create(
        builder, loc, base.getType(),
        this->getTypeConverter()->convertType(type.getElementType()), base,
        ArrayRef<LLVM::GEPArg>{elements});
  }

  static int64_t getRowElements(MemRefType type) {
    return ShapedType::getNumElements(type.getShape().drop_front());
  }
};

//===----------------------------------------------------------------------===//
// Ranks
//===----------------------------------------------------------------------===//

struct RankOpLowering : public SymmOpLowering<symm::RankOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::RankOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    FailureOr<Value> rank =
        callRuntime(rewriter, op.getLoc(), RuntimeFunction::Rank);
    if (failed(rank))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.replaceOp(op, *rank);
    return success();
  }
};

struct PeerOpLowering : public SymmOpLowering<symm::PeerOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::PeerOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    MemRefDescriptor descriptor(adaptor.getBuffer());
    FailureOr<Value> ptr = createPeerAddress(
        rewriter, loc, descriptor.alignedPtr(rewriter, loc), adaptor.getRank());
    if (failed(ptr))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    descriptor.setAllocatedPtr(rewriter, loc, *ptr);
    descriptor.setAlignedPtr(rewriter, loc, *ptr);
    rewriter.replaceOp(op, Value(descriptor));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Transfer and synchronisation
//===----------------------------------------------------------------------===//

struct PutOpLowering : public SymmOpLowering<symm::PutOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::PutOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto sourceType = cast<MemRefType>(op.getSource().getType());
    auto targetType = cast<MemRefType>(op.getTarget().getType());
    Value source = createRowAddress(rewriter, loc, sourceType,
                                    adaptor.getSource(), adaptor.getFrom());
    Value target = createRowAddress(rewriter, loc, targetType,
                                    adaptor.getTarget(), adaptor.getTo());
    FailureOr<Value> remote =
        createPeerAddress(rewriter, loc, target, adaptor.getRank());
    if (failed(remote))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");

    // A constant length lets LLVM turn the copy of a short row into moves.
    int64_t rowBytes = getRowElements(sourceType) *
                       DataLayout::closest(op)
                           .getTypeSize(getTypeConverter()->convertType(
                               sourceType.getElementType()))
                           .getFixedValue();
    Value length = createI64(rewriter, loc, rowBytes);
    if (adaptor.getCount())
      length = LLVM::MulOp::create(rewriter, loc, adaptor.getCount(), length);
    rewriter.replaceOpWithNewOp<LLVM::MemcpyOp>(op, *remote, source, length,
                                                /*isVolatile=*/false);
    return success();
  }
};

struct NextEpochOpLowering : public SymmOpLowering<symm::NextEpochOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::NextEpochOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value ptr = MemRefDescriptor(adaptor.getCounter())
                    .bufferPtr(rewriter, loc, *getTypeConverter(),
                               cast<MemRefType>(op.getCounter().getType()));
    Value last =
        LLVM::LoadOp::create(rewriter, loc, rewriter.getI64Type(), ptr);
    Value next =
        LLVM::AddOp::create(rewriter, loc, last, createI64(rewriter, loc, 1));
    LLVM::StoreOp::create(rewriter, loc, next, ptr);
    rewriter.replaceOp(op, next);
    return success();
  }
};

struct SignalOpLowering : public SymmOpLowering<symm::SignalOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::SignalOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value word = createRowAddress(rewriter, loc,
                                  cast<MemRefType>(op.getFlags().getType()),
                                  adaptor.getFlags(), adaptor.getIndex());
    FailureOr<Value> remote =
        createPeerAddress(rewriter, loc, word, adaptor.getRank());
    if (failed(remote))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    // Release: what this rank stored before is visible to whoever sees the
    // value. No sync scope is the system scope.
    rewriter.replaceOpWithNewOp<LLVM::StoreOp>(
        op, adaptor.getValue(), *remote, /*alignment=*/8, /*isVolatile=*/false,
        /*isNonTemporal=*/false, /*isInvariantGroup=*/false,
        LLVM::AtomicOrdering::release);
    return success();
  }
};

struct WaitOpLowering : public SymmOpLowering<symm::WaitOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::WaitOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Value word = createRowAddress(rewriter, op.getLoc(),
                                  cast<MemRefType>(op.getFlags().getType()),
                                  adaptor.getFlags(), adaptor.getIndex());
    if (failed(callRuntime(rewriter, op.getLoc(), RuntimeFunction::Wait,
                           {word, adaptor.getValue(), adaptor.getPeer()})))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    if (!op.getSeen()) {
      rewriter.eraseOp(op);
      return success();
    }
    // A wait that returns has seen the value; only its writer may know whether
    // there is a later one.
    rewriter.replaceOpWithNewOp<LLVM::LoadOp>(
        op, rewriter.getI64Type(), word, /*alignment=*/8, /*isVolatile=*/false,
        /*isNonTemporal=*/false, /*isInvariant=*/false,
        /*isInvariantGroup=*/false, LLVM::AtomicOrdering::acquire);
    return success();
  }
};

/// A barrier is a signal to every rank and a wait for every rank. Each rank
/// starts with itself: were all to start with rank 0, they would contend for
/// its flags.
struct BarrierOpExpansion : public OpRewritePattern<symm::BarrierOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(symm::BarrierOp op,
                                PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto flags = cast<TypedValue<MemRefType>>(op.getFlags());
    Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
    Value ranks = arith::ConstantIndexOp::create(rewriter, loc,
                                                 flags.getType().getDimSize(0));
    Value me = symm::RankOp::create(rewriter, loc);

    auto forEachRank = [&](function_ref<void(Value)> body) {
      OpBuilder::InsertionGuard guard(rewriter);
      auto loop = scf::ForOp::create(rewriter, loc, zero, ranks, one);
      rewriter.setInsertionPointToStart(loop.getBody());
      Value sum =
          arith::AddIOp::create(rewriter, loc, me, loop.getInductionVar());
      Value rest = arith::SubIOp::create(rewriter, loc, sum, ranks);
      Value wraps = arith::CmpIOp::create(
          rewriter, loc, arith::CmpIPredicate::uge, sum, ranks);
      body(arith::SelectOp::create(rewriter, loc, wraps, rest, sum));
    };
    forEachRank([&](Value rank) {
      symm::SignalOp::create(rewriter, loc, flags, me, rank, op.getValue());
    });
    forEachRank([&](Value rank) {
      symm::WaitOp::create(rewriter, loc, flags, rank, rank, op.getValue());
    });
    rewriter.eraseOp(op);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Errors and phases
//===----------------------------------------------------------------------===//

struct CheckOpLowering : public SymmOpLowering<symm::CheckOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::CheckOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value yes = arith::ConstantIntOp::create(rewriter, loc, 1, 1);
    Value failed = arith::XOrIOp::create(rewriter, loc, op.getCondition(), yes);
    auto branch = scf::IfOp::create(rewriter, loc, failed);
    rewriter.setInsertionPointToStart(branch.thenBlock());
    FailureOr<Value> what = createStringConstant(rewriter, loc, op.getWhat());
    if (mlir::failed(what))
      return rewriter.notifyMatchFailure(op, "clash with a string constant");
    Value code =
        createI64(rewriter, loc, static_cast<int64_t>(op.getFailure()));
    auto valueOr = [&](Value value, int64_t none) {
      return value ? value : createI64(rewriter, loc, none);
    };
    Value least = valueOr(adaptor.getLeast(), INT64_MIN);
    Value peer = valueOr(adaptor.getPeer(), -1);
    Value token = valueOr(adaptor.getToken(), -1);
    Value slot = valueOr(adaptor.getSlot(), -1);
    if (mlir::failed(callRuntime(rewriter, loc, RuntimeFunction::Fail,
                                 {code, *what, least, adaptor.getExpected(),
                                  adaptor.getSeen(), peer, token, slot})))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.eraseOp(op);
    return success();
  }
};

struct CollectiveBeginOpLowering
    : public SymmOpLowering<symm::CollectiveBeginOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::CollectiveBeginOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    FailureOr<Value> name = createStringConstant(rewriter, loc, op.getOp());
    FailureOr<Value> place =
        createStringConstant(rewriter, loc, describeLocation(loc));
    if (failed(name) || failed(place))
      return rewriter.notifyMatchFailure(op, "clash with a string constant");
    Value site = createI64(rewriter, loc, op.getSite());
    if (failed(callRuntime(rewriter, loc, RuntimeFunction::CollectiveBegin,
                           {*name, *place, site})))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.eraseOp(op);
    return success();
  }
};

struct PhaseOpLowering : public SymmOpLowering<symm::PhaseOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::PhaseOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    FailureOr<Value> phase =
        createStringConstant(rewriter, op.getLoc(), op.getPhase());
    if (failed(phase) || failed(callRuntime(rewriter, op.getLoc(),
                                            RuntimeFunction::Phase, *phase)))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.eraseOp(op);
    return success();
  }
};

struct CollectiveEndOpLowering : public SymmOpLowering<symm::CollectiveEndOp> {
  using SymmOpLowering::SymmOpLowering;

  LogicalResult
  matchAndRewrite(symm::CollectiveEndOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    if (failed(
            callRuntime(rewriter, op.getLoc(), RuntimeFunction::CollectiveEnd)))
      return rewriter.notifyMatchFailure(op, "clash with a runtime function");
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void moe::addSymmToLLVMTypeConversions(LLVMTypeConverter &converter) {
  converter.addTypeAttributeConversion(
      [](BaseMemRefType type, symm::SpaceAttr) -> Attribute {
        return IntegerAttr::get(IntegerType::get(type.getContext(), 64), 0);
      });
}

void moe::populateSymmToLLVMConversionPatterns(
    const LLVMTypeConverter &converter, RewritePatternSet &patterns) {
  patterns
      .add<RankOpLowering, PeerOpLowering, PutOpLowering, NextEpochOpLowering,
           SignalOpLowering, WaitOpLowering, CheckOpLowering,
           CollectiveBeginOpLowering, PhaseOpLowering, CollectiveEndOpLowering>(
          converter);
  patterns.add<BarrierOpExpansion>(patterns.getContext());
  populateSymmMemoryPatterns(converter, patterns);
}
