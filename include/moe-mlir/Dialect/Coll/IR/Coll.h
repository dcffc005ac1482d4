//===- Coll.h - coll dialect ---------------------------------- -*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_COLL_IR_COLL_H
#define MOE_MLIR_DIALECT_COLL_IR_COLL_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace mlir::coll {

/// The messages of the group, as a resource that the ops read and write.
struct MessageResource : public SideEffects::Resource::Base<MessageResource> {
  StringRef getName() final { return "coll.messages"; }
};

/// Whether the rows of `type` lie one after another without gaps.
bool hasContiguousRows(MemRefType type);

/// Whether the elements of `type` are integers or floats of 8, 16, 32 or 64
/// bits: all others take more memory than their bits.
bool hasWholeElements(MemRefType type);

} // namespace mlir::coll

#include "moe-mlir/Dialect/Coll/IR/CollDialect.h.inc"
#define GET_OP_CLASSES
#include "moe-mlir/Dialect/Coll/IR/CollOps.h.inc"

#endif // MOE_MLIR_DIALECT_COLL_IR_COLL_H
