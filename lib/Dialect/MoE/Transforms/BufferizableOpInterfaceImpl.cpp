//===- BufferizableOpInterfaceImpl.cpp - bufferization --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/BufferizableOpInterfaceImpl.h"

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Dialect.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace mlir::moe;

namespace {

/// The same for all collectives. Results alias no operand: rows come from other
/// ranks, and an output is written while operands are still read.
template <typename OpTy>
struct CollectiveBufferization : public BufferizableOpInterface::ExternalModel<
                                     CollectiveBufferization<OpTy>, OpTy> {
  bool bufferizesToAllocation(Operation *, Value) const { return true; }

  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const AnalysisState &) const {
    return true;
  }

  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const AnalysisState &) const {
    return false;
  }

  AliasingValueList getAliasingValues(Operation *, OpOperand &,
                                      const AnalysisState &) const {
    return {};
  }

  FailureOr<BufferLikeType> getBufferType(Operation *, Value value,
                                          const BufferizationOptions &,
                                          const BufferizationState &,
                                          SmallVector<Value> &) const {
    return cast<BufferLikeType>(getMemRefTypeWithStaticIdentityLayout(
        cast<TensorType>(value.getType())));
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto collective = cast<CollectiveOpInterface>(op);
    // Tensor operands become buffers; the order stays, so the segment sizes
    // stay valid with `outs` appended.
    SmallVector<Value> operands;
    for (Value input : collective.getInputs()) {
      FailureOr<Value> buffer = getBuffer(rewriter, input, options, state);
      if (failed(buffer))
        return failure();
      operands.push_back(*buffer);
    }

    ReifiedRankedShapedTypeDims shapes;
    if (failed(cast<ReifyRankedShapedTypeOpInterface>(op).reifyResultShapes(
            rewriter, shapes)))
      return failure();
    SmallVector<Value> outs;
    for (auto [result, shape] : llvm::zip(op->getResults(), shapes)) {
      auto type = cast<MemRefType>(getMemRefTypeWithStaticIdentityLayout(
          cast<TensorType>(result.getType())));
      SmallVector<Value> dynamicSizes;
      for (OpFoldResult size : shape)
        if (auto value = dyn_cast<Value>(size))
          dynamicSizes.push_back(value);
      FailureOr<Value> out =
          options.createAlloc(rewriter, op->getLoc(), type, dynamicSizes);
      if (failed(out))
        return failure();
      outs.push_back(*out);
    }

    OperationState newState(op->getLoc(), op->getName());
    newState.addOperands(operands);
    newState.addOperands(outs);
    newState.attributes = op->getDiscardableAttrDictionary();
    Operation *newOp = rewriter.create(newState);
    newOp->copyProperties(op->getPropertiesStorage());
    setNumOuts(cast<OpTy>(newOp), outs.size());
    replaceOpWithBufferizedValues(rewriter, op, outs);
    return success();
  }

  /// `outs` is the last operand group. An op with one variadic group has no
  /// segment sizes to adapt.
  static void setNumOuts(OpTy op, size_t numOuts) {
    if constexpr (OpTy::template hasTrait<OpTrait::AttrSizedOperandSegments>())
      op.getProperties().operandSegmentSizes.back() = numOuts;
  }
};

} // namespace

void moe::registerBufferizableOpInterfaceExternalModels(
    DialectRegistry &registry) {
  registerScatterBufferization(registry);
  registry.addExtension(+[](MLIRContext *context, MoEDialect *) {
    DispatchOp::attachInterface<CollectiveBufferization<DispatchOp>>(*context);
    CombineOp::attachInterface<CollectiveBufferization<CombineOp>>(*context);
    AllToAllvOp::attachInterface<CollectiveBufferization<AllToAllvOp>>(
        *context);
    context->loadDialect<memref::MemRefDialect>();
  });
}
