//===- MoEDialect.cpp - moe dialect ---------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Transforms/InliningUtils.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;

#include "moe-mlir/Dialect/MoE/IR/MoEDialect.cpp.inc"
#include "moe-mlir/Dialect/MoE/IR/MoEEnums.cpp.inc"
#include "moe-mlir/Dialect/MoE/IR/MoEInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "moe-mlir/Dialect/MoE/IR/MoEAttributes.cpp.inc"

namespace {
/// A collective may stand wherever the call stood: all ranks inline alike.
struct MoEInlinerInterface : public DialectInlinerInterface {
  using DialectInlinerInterface::DialectInlinerInterface;

  bool isLegalToInline(Operation *, Region *, bool, IRMapping &) const final {
    return true;
  }
};
} // namespace

void MoEDialect::initialize() {
  addInterfaces<MoEInlinerInterface>();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "moe-mlir/Dialect/MoE/IR/MoEAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "moe-mlir/Dialect/MoE/IR/MoEOps.cpp.inc"
      >();
}

static bool isPlaceOfMemory(StringAttr name) {
  return name == kSymmetricAttrName || name == kHostAttrName;
}

/// symmetric_c1 and host_c1, for argument or result (`kind`) `index` of `op`.
static LogicalResult verifyPlaceOfMemory(Operation *op, StringRef kind,
                                         unsigned index, Type type,
                                         DictionaryAttr marks,
                                         NamedAttribute attr) {
  Attribute value = attr.getValue();
  auto describe = [&](InFlightDiagnostic diag) -> InFlightDiagnostic {
    return std::move(diag << "expects '" << attr.getName().getValue() << "' on "
                          << kind << ' ' << index << ' ');
  };
  auto func = dyn_cast<func::FuncOp>(op);
  if (!func || !func.isPublic())
    return describe(op->emitOpError()) << "of a public 'func.func' only";
  if (!isa<UnitAttr>(value))
    return describe(op->emitOpError())
           << "to be a unit attribute (" << value << ")";
  auto shaped = dyn_cast<ShapedType>(type);
  if (!isa<RankedTensorType, MemRefType>(type) || !shaped.hasStaticShape())
    return describe(op->emitOpError())
           << "to be of a ranked tensor or memref of static shape (" << type
           << ")";
  if (marks.contains(kSymmetricAttrName) && marks.contains(kHostAttrName))
    return describe(op->emitOpError())
           << "without the other of '" << kSymmetricAttrName << "' and '"
           << kHostAttrName << "'";
  return success();
}

LogicalResult MoEDialect::verifyOperationAttribute(Operation *op,
                                                   NamedAttribute attr) {
  if (!isPlaceOfMemory(attr.getName()))
    return success();
  return op->emitOpError("expects '")
         << attr.getName().getValue() << "' on arguments and results only";
}

LogicalResult MoEDialect::verifyRegionArgAttribute(Operation *op,
                                                   unsigned regionIndex,
                                                   unsigned argIndex,
                                                   NamedAttribute attr) {
  if (!isPlaceOfMemory(attr.getName()))
    return success();
  auto func = dyn_cast<FunctionOpInterface>(op);
  return verifyPlaceOfMemory(op, "argument", argIndex,
                             func ? func.getArgumentTypes()[argIndex] : Type(),
                             func ? func.getArgAttrDict(argIndex) : nullptr,
                             attr);
}

LogicalResult MoEDialect::verifyRegionResultAttribute(Operation *op,
                                                      unsigned regionIndex,
                                                      unsigned resultIndex,
                                                      NamedAttribute attr) {
  if (!isPlaceOfMemory(attr.getName()))
    return success();
  auto func = dyn_cast<FunctionOpInterface>(op);
  return verifyPlaceOfMemory(
      op, "result", resultIndex,
      func ? func.getResultTypes()[resultIndex] : Type(),
      func ? func.getResultAttrDict(resultIndex) : nullptr, attr);
}

LogicalResult KernelAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t blocks, int64_t threads,
                                 Transfer transfer, int64_t stages,
                                 int64_t team) {
  if (blocks < 1)
    return emitError() << "expects 'blocks' (" << blocks
                       << ") to be at least 1";
  if (threads < 32 || threads > 1024 || threads % 32 != 0)
    return emitError() << "expects 'threads' (" << threads
                       << ") to be a multiple of 32 from 32 to 1024";
  if (stages < 1 || stages > kMaxStages)
    return emitError() << "expects 'stages' (" << stages << ") to be from 1 to "
                       << kMaxStages;
  if (team < 1 || !llvm::isPowerOf2_64(team) || threads / 32 % team != 0)
    return emitError() << "expects 'team' (" << team
                       << ") to be a power of two that divides the number of "
                          "subgroups ("
                       << threads / 32 << ")";
  return success();
}

int64_t moe::getNumRanks(Operation *op, FlatSymbolRefAttr grid) {
  auto gridOp = SymbolTable::lookupNearestSymbolFrom<shard::GridOp>(op, grid);
  if (!gridOp || gridOp.getRank() != 1 ||
      ShapedType::isDynamic(gridOp.getShape().front()))
    return 0;
  return gridOp.getShape().front();
}
