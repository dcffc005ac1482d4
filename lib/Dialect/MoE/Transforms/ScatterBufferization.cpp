//===- ScatterBufferization.cpp - bufferization of tensor.scatter ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Upstream has none. No op on tensors says that elements are stored to
/// different places in any order, so a rewriting before bufferization would
/// have to store one after the other.
///
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/Transforms/BufferizableOpInterfaceImpl.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Dialect.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace mlir::moe;

namespace {

struct ScatterBufferization
    : public BufferizableOpInterface::ExternalModel<ScatterBufferization,
                                                    tensor::ScatterOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const AnalysisState &) const {
    return true;
  }

  bool bufferizesToMemoryWrite(Operation *op, OpOperand &operand,
                               const AnalysisState &) const {
    return &operand == &cast<tensor::ScatterOp>(op).getDestMutable();
  }

  AliasingValueList getAliasingValues(Operation *op, OpOperand &operand,
                                      const AnalysisState &) const {
    if (&operand != &cast<tensor::ScatterOp>(op).getDestMutable())
      return {};
    return {{op->getResult(0), BufferRelation::Equivalent}};
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto scatter = cast<tensor::ScatterOp>(op);
    Location loc = op->getLoc();
    FailureOr<Value> source =
        getBuffer(rewriter, scatter.getSource(), options, state);
    FailureOr<Value> indices =
        getBuffer(rewriter, scatter.getIndices(), options, state);
    FailureOr<Value> dest =
        getBuffer(rewriter, scatter.getDest(), options, state);
    if (failed(source) || failed(indices) || failed(dest))
      return failure();

    int64_t rank = scatter.getSourceType().getRank();
    Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
    SmallVector<Value> extents;
    for (int64_t dim = 0; dim < rank; ++dim)
      extents.push_back(
          memref::DimOp::create(rewriter, loc, *source, dim).getResult());
    auto store = [&](OpBuilder &builder, Location loc, ValueRange position) {
      Value value = memref::LoadOp::create(builder, loc, *source, position);
      memref::StoreOp::create(
          builder, loc, value, *dest,
          findPlace(builder, loc, scatter, *indices, position));
    };
    // The op promises that no two elements have the same place.
    if (rank == 0)
      store(rewriter, loc, {});
    else
      scf::ParallelOp::create(rewriter, loc, SmallVector<Value>(rank, zero),
                              extents, SmallVector<Value>(rank, one), store);
    replaceOpWithBufferizedValues(rewriter, op, *dest);
    return success();
  }

private:
  /// Where the element at `position` of the source goes.
  static SmallVector<Value> findPlace(OpBuilder &builder, Location loc,
                                      tensor::ScatterOp op, Value indices,
                                      ValueRange position) {
    int64_t batchRank = op.getIndicesType().getRank() - 1;
    ArrayRef<int64_t> dims = op.getScatterDims();
    int64_t destRank = op.getDestType().getRank();
    bool isFullRank =
        static_cast<int64_t>(position.size()) == batchRank + destRank;
    SmallVector<Value> place;
    int64_t next = batchRank;
    for (int64_t dim = 0; dim < destRank; ++dim) {
      const auto *it = llvm::find(dims, dim);
      if (it == dims.end()) {
        place.push_back(position[next++]);
        continue;
      }
      next += isFullRank;
      SmallVector<Value> at(position.take_front(batchRank));
      at.push_back(
          arith::ConstantIndexOp::create(builder, loc, it - dims.begin()));
      Value index = memref::LoadOp::create(builder, loc, indices, at);
      if (!index.getType().isIndex())
        index = arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                           index);
      place.push_back(index);
    }
    return place;
  }
};

} // namespace

void moe::registerScatterBufferization(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, tensor::TensorDialect *) {
    context->loadDialect<arith::ArithDialect, memref::MemRefDialect,
                         scf::SCFDialect>();
    tensor::ScatterOp::attachInterface<ScatterBufferization>(*context);
  });
}
