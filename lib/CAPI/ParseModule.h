//===- ParseModule.h - Modules of text or bytecode --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CAPI_PARSEMODULE_H
#define MOE_MLIR_LIB_CAPI_PARSEMODULE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace mlir::moe {

/// Does what `moeModuleParse` does.
OwningOpRef<ModuleOp> parseModule(StringRef source, StringRef sourceName,
                                  MLIRContext *context);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CAPI_PARSEMODULE_H
