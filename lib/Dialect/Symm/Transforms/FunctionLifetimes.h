//===- FunctionLifetimes.h - Which functions run together ------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_DIALECT_SYMM_TRANSFORMS_FUNCTIONLIFETIMES_H
#define MOE_MLIR_LIB_DIALECT_SYMM_TRANSFORMS_FUNCTIONLIFETIMES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/BitVector.h"

namespace mlir::symm {

/// The function that `op` is in; null outside of functions.
inline Operation *getFunction(Operation *op) {
  return op->getParentOfType<FunctionOpInterface>();
}

/// The calls of a module, as far as the lifetimes of buffers depend on them.
/// Two functions of which neither calls the other, directly or not, run one
/// after the other: a rank runs one entry at a time.
class FunctionLifetimes {
public:
  explicit FunctionLifetimes(ModuleOp module);

  /// Whether a run of `from` may run `to` as well.
  bool reaches(Operation *from, Operation *to) const;
  /// The calls in `from` that may do so.
  SmallVector<Operation *> callsThatReach(Operation *from, Operation *to) const;
  /// Whether buffers of two functions that do not call each other may share
  /// memory: neither is, or belongs to, an entry that has its own.
  bool mayShare(Operation *a, Operation *b) const;
  /// An entry with a workspace of its own and another one that both call
  /// `function`, whose buffers they would use at the same time; null without.
  std::pair<Operation *, Operation *> findRivals(Operation *function) const;

private:
  struct Call {
    Operation *op;
    /// The function it calls; -1 for one that is not known, which may be any.
    int64_t callee;
  };
  struct Function {
    Operation *op;
    SmallVector<Call> calls;
    llvm::BitVector reached;
    /// It, or one that calls it, has the attribute.
    bool hasOwnWorkspace = false;
  };

  int64_t indexOf(Operation *function) const;
  void close(int64_t root);

  llvm::DenseMap<Operation *, int64_t> indices;
  SmallVector<Function> functions;
};

} // namespace mlir::symm

#endif // MOE_MLIR_LIB_DIALECT_SYMM_TRANSFORMS_FUNCTIONLIFETIMES_H
