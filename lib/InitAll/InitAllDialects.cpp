//===- InitAllDialects.cpp - Registration of all dialects -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/InitAllDialects.h"

#include "moe-mlir/Dialect/Coll/IR/Coll.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Dialect/MoE/Transforms/BufferizableOpInterfaceImpl.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"

#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Dialect/Shard/IR/ShardDialect.h"
#include "mlir/InitAllDialects.h"

using namespace mlir;

void moe::registerMoEDialects(DialectRegistry &registry) {
  registry.insert<coll::CollDialect, MoEDialect, symm::SymmDialect,
                  shard::ShardDialect>();
  registerBufferizableOpInterfaceExternalModels(registry);
}

void moe::registerAllDialects(DialectRegistry &registry) {
  mlir::registerAllDialects(registry);
  func::registerInlinerExtension(registry);
  registerMoEDialects(registry);
}
