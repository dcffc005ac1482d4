//===- CollectiveVerifier.cpp - what verifiers share ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CollectiveVerifier.h"

#include "moe-runtime/ArtifactABI.h"

#include "mlir/Dialect/Shard/IR/ShardOps.h"

using namespace mlir;
using namespace mlir::moe;

std::string moe::toString(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(
      shape, os,
      [&](int64_t size) {
        if (ShapedType::isDynamic(size))
          os << '?';
        else
          os << size;
      },
      "x");
  return text;
}

LogicalResult moe::verifyForm(CollectiveOpInterface op) {
  if (!op->getResults().empty() && !op.getOuts().empty())
    return op.emitOpError("expects results or 'outs', not both (results: ")
           << op->getNumResults() << ", outs: " << op.getOuts().size() << ")";
  if (op->getResults().empty() && op.getOuts().empty())
    return op.emitOpError("expects results (tensor form) or 'outs' (memref "
                          "form)");
  bool tensors = op.isTensorForm();
  for (auto [index, input] : llvm::enumerate(op.getInputs())) {
    Type type = input.getType();
    if (tensors ? !isa<TensorType>(type) : !isa<BaseMemRefType>(type))
      return op.emitOpError("expects ")
             << (tensors ? "tensor" : "memref") << " operands in its "
             << (tensors ? "tensor" : "memref") << " form (operand #" << index
             << " is " << type << ")";
  }
  return success();
}

LogicalResult moe::verifyTokenBound(Operation *op, ShapedType tokens,
                                    std::optional<uint64_t> maxTokens) {
  if (tokens.isDynamicDim(0) && !maxTokens)
    return op->emitOpError(
        "expects 'max_tokens' when the number of tokens is dynamic");
  if (maxTokens && !tokens.isDynamicDim(0) &&
      tokens.getDimSize(0) > static_cast<int64_t>(*maxTokens))
    return op->emitOpError("expects the number of tokens (")
           << tokens.getDimSize(0) << ") to be at most 'max_tokens' ("
           << *maxTokens << ")";
  return success();
}

LogicalResult moe::verifyRowNumbers(Operation *op, int64_t numRanks,
                                    int64_t tokenBound) {
  if (static_cast<__int128>(numRanks) * tokenBound > kMaxRows)
    return op->emitOpError("expects ranks (")
           << numRanks << ") times tokens per rank (" << tokenBound
           << ") to be at most " << kMaxRows;
  return success();
}

LogicalResult moe::verifyGroup(CollectiveOpInterface op,
                               SymbolTableCollection &symbolTable,
                               int64_t &numRanks) {
  FlatSymbolRefAttr name = op.getGridAttr();
  // group_c1
  auto grid = symbolTable.lookupNearestSymbolFrom<shard::GridOp>(op, name);
  if (!grid)
    return op.emitOpError("expects ") << name << " to name a 'shard.grid'";
  // group_c2
  if (grid.getRank() != 1 || ShapedType::isDynamic(grid.getShape().front()) ||
      grid.getShape().front() < 1)
    return (op.emitOpError("expects ")
            << name << " to have one static dimension of at least 1 ("
            << toString(grid.getShape()) << ")")
               .attachNote(grid.getLoc())
           << "the grid is defined here";
  numRanks = grid.getShape().front();
  if (numRanks > MOERT_MAX_RANKS)
    return (op.emitOpError("expects ")
            << name << " to have at most " << MOERT_MAX_RANKS << " ranks ("
            << numRanks << ")")
               .attachNote(grid.getLoc())
           << "the grid is defined here";
  return success();
}

LogicalResult moe::verifyOutputTypes(CollectiveOpInterface op,
                                     int64_t numRanks) {
  SmallVector<RankedTensorType> expected;
  op.getExpectedOutputTypes(numRanks, expected);
  ValueRange outputs = op.getOutputValues();
  if (outputs.size() != expected.size())
    return op.emitOpError("expects ")
           << expected.size() << (op.isTensorForm() ? " result" : " out")
           << (expected.size() == 1 ? " (" : "s (") << outputs.size() << ")";
  for (auto [index, output] : llvm::enumerate(outputs)) {
    auto actual = cast<ShapedType>(output.getType());
    if (!actual.hasRank() || actual.getShape() != expected[index].getShape() ||
        actual.getElementType() != expected[index].getElementType())
      return op.emitOpError("expects '")
             << op.getOutputName(index) << "' (" << actual << ") to be "
             << toString(expected[index].getShape()) << " of "
             << expected[index].getElementType();
  }
  return success();
}
