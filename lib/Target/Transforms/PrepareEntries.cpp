//===- PrepareEntries.cpp - Check the entries of a module -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Transforms/Passes.h"

#include "moe-mlir/Dialect/Coll/IR/Coll.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MOEPREPAREENTRIESPASS
#include "moe-mlir/Target/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kElementTypes =
    "f64, f32, f16, bf16, f8E4M3FN, f8E5M2, i64, i32, i16, i8 or i1";

static bool isEntryElementType(Type type) {
  if (auto integer = dyn_cast<IntegerType>(type))
    return integer.isSignless() &&
           llvm::is_contained({64u, 32u, 16u, 8u, 1u}, integer.getWidth());
  return isa<Float64Type, Float32Type, Float16Type, BFloat16Type,
             Float8E4M3FNType, Float8E5M2Type>(type);
}

static LogicalResult checkEntryType(func::FuncOp func, StringRef kind,
                                    unsigned index, Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || tensor.getEncoding())
    return func.emitOpError("expects ")
           << kind << " " << index
           << " of an entry to be a ranked tensor without encoding (" << type
           << ")";
  if (!isEntryElementType(tensor.getElementType()))
    return func.emitOpError("expects ")
           << kind << " " << index << " of an entry to have elements of type "
           << kElementTypes << " (" << type << ")";
  return success();
}

/// The type of a tensor of an entry, whose marks are `marks`, as
/// `kEntryAttrName` notes it.
static Type getNotedType(Type type, DictionaryAttr marks) {
  auto tensor = cast<RankedTensorType>(type);
  Attribute place;
  if (marks && marks.contains(kSymmetricAttrName))
    place = symm::SpaceAttr::get(type.getContext());
  else if (marks && marks.contains(kHostAttrName))
    place = StringAttr::get(type.getContext(), kHostEncoding);
  return RankedTensorType::get(tensor.getShape(), tensor.getElementType(),
                               place);
}

static LogicalResult prepareEntry(func::FuncOp func) {
  FunctionType type = func.getFunctionType();
  SmallVector<Type> inputs, results;
  for (auto [index, input] : llvm::enumerate(type.getInputs())) {
    if (failed(checkEntryType(func, "argument", index, input)))
      return failure();
    func.setArgAttr(index,
                    bufferization::BufferizationDialect::kWritableAttrName,
                    BoolAttr::get(func.getContext(), false));
    inputs.push_back(getNotedType(input, func.getArgAttrDict(index)));
  }
  for (auto [index, result] : llvm::enumerate(type.getResults())) {
    if (failed(checkEntryType(func, "result", index, result)))
      return failure();
    results.push_back(getNotedType(result, func.getResultAttrDict(index)));
  }
  func->setAttr(kEntryAttrName, TypeAttr::get(FunctionType::get(
                                    func.getContext(), inputs, results)));
  return success();
}

/// symmetric_s3
static void removeSymmetricMarks(ModuleOp module) {
  for (auto func : module.getOps<func::FuncOp>()) {
    for (unsigned i = 0, e = func.getNumArguments(); i < e; ++i)
      func.removeArgAttr(i, kSymmetricAttrName);
    for (unsigned i = 0, e = func.getNumResults(); i < e; ++i)
      func.removeResultAttr(i, kSymmetricAttrName);
  }
}

/// Number of ranks of the grids that `module` uses; 0 when it uses none.
static FailureOr<int64_t> findRanks(ModuleOp module) {
  int64_t ranks = 0;
  Operation *first = nullptr;
  auto meet = [&](Operation *op, int64_t extent) -> LogicalResult {
    if (!first) {
      first = op;
      ranks = extent;
    }
    if (extent == ranks)
      return success();
    InFlightDiagnostic diag = op->emitOpError("expects a grid of ")
                              << ranks << " ranks like the rest of the module ("
                              << extent << ")";
    diag.attachNote(first->getLoc()) << "the number of ranks comes from here";
    return diag;
  };
  WalkResult walked = module.walk([&](CollectiveOpInterface op) {
    return failed(meet(op, op.getNumRanks())) ? WalkResult::interrupt()
                                              : WalkResult::advance();
  });
  // A module written at the symm level names its ranks by a grid alone.
  if (!first && !walked.wasInterrupted())
    walked = module.walk([&](shard::GridOp grid) {
      if (grid.getShape().size() != 1 ||
          ShapedType::isDynamic(grid.getShape().front()))
        return WalkResult::advance();
      return failed(meet(grid, grid.getShape().front()))
                 ? WalkResult::interrupt()
                 : WalkResult::advance();
    });
  if (walked.wasInterrupted())
    return failure();
  return ranks;
}

/// The number of ranks that the operands of a message have parts or entries
/// for.
static std::optional<int64_t> getRanksOfMessage(Operation *op) {
  auto rows = [](Value buffer) {
    return cast<MemRefType>(buffer.getType()).getDimSize(0);
  };
  return TypeSwitch<Operation *, std::optional<int64_t>>(op)
      .Case([&](coll::AllGatherOp gather) {
        return rows(gather.getRecv()) / rows(gather.getSend());
      })
      .Case([&](coll::AllToAllOp all) { return rows(all.getSend()); })
      .Case([&](coll::RowsOp exchanged) {
        return rows(exchanged.getSendStarts());
      })
      .Default(std::nullopt);
}

/// coll_c8: messages are for the ranks of the group.
static LogicalResult checkMessages(ModuleOp module, int64_t ranks) {
  WalkResult walked = module.walk([&](Operation *op) {
    std::optional<int64_t> extent = getRanksOfMessage(op);
    if (!extent || *extent == ranks)
      return WalkResult::advance();
    op->emitOpError("expects the ranks that its operands are for (")
        << *extent << ") to be those of the module's grid (" << ranks << ")";
    return WalkResult::interrupt();
  });
  return failure(walked.wasInterrupted());
}

namespace {

struct MoEPrepareEntriesPass
    : public moe::impl::MoEPrepareEntriesPassBase<MoEPrepareEntriesPass> {
  using MoEPrepareEntriesPassBase::MoEPrepareEntriesPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (transport != "direct" && transport != "messages") {
      module.emitError(
          "moe-prepare-entries expects 'transport' to be direct or "
          "messages (")
          << transport << ")";
      return signalPassFailure();
    }
    if (transport == "messages")
      removeSymmetricMarks(module);
    bool hasEntry = false;
    for (auto func : module.getOps<func::FuncOp>()) {
      if (!func.isPublic() || func.isExternal())
        continue;
      hasEntry = true;
      if (failed(prepareEntry(func)))
        return signalPassFailure();
    }
    if (!hasEntry) {
      module.emitOpError("expects a public function with a body as an entry");
      return signalPassFailure();
    }

    // It asks for wrappers with another signature, of which callers know
    // nothing: an artifact has its own.
    for (auto func : module.getOps<func::FuncOp>())
      func->removeAttr("llvm.emit_c_interface");

    FailureOr<int64_t> ranks = findRanks(module);
    if (failed(ranks) || failed(checkMessages(module, *ranks)))
      return signalPassFailure();
    Builder builder(&getContext());
    module->setAttr(kRanksAttrName, builder.getI64IntegerAttr(*ranks));

    module.walk([&](Operation *op) {
      if (isa<symm::AllocOp, symm::FreeOp>(op))
        op->setAttr(bufferization::BufferizationDialect::kManualDeallocation,
                    builder.getUnitAttr());
    });
  }
};

} // namespace
