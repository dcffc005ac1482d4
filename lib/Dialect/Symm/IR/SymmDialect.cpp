//===- SymmDialect.cpp - symm dialect -------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::symm;

#include "moe-mlir/Dialect/Symm/IR/SymmDialect.cpp.inc"
#include "moe-mlir/Dialect/Symm/IR/SymmEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "moe-mlir/Dialect/Symm/IR/SymmAttributes.cpp.inc"

void SymmDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "moe-mlir/Dialect/Symm/IR/SymmAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "moe-mlir/Dialect/Symm/IR/SymmOps.cpp.inc"
      >();
}

/// workspace_c1
LogicalResult SymmDialect::verifyOperationAttribute(Operation *op,
                                                    NamedAttribute attr) {
  if (attr.getName() != kOwnWorkspaceAttrName)
    return success();
  if (!isa<FunctionOpInterface>(op))
    return op->emitOpError("expects '")
           << kOwnWorkspaceAttrName << "' on functions only";
  if (!isa<UnitAttr>(attr.getValue()))
    return op->emitOpError("expects '")
           << kOwnWorkspaceAttrName << "' to be a unit attribute ("
           << attr.getValue() << ")";
  return success();
}

bool symm::isSymmetric(Type type) {
  auto memref = dyn_cast<MemRefType>(type);
  return memref && isa_and_present<SpaceAttr>(memref.getMemorySpace());
}

bool symm::holdsSymmOps(Operation *op) {
  return op
      ->walk([](Operation *nested) {
        return isa_and_present<SymmDialect>(nested->getDialect())
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}
