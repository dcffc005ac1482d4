//===- Dialects.cpp - C interface to the dialects -------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir-c/Dialects.h"

#include "moe-mlir/Dialect/Coll/IR/Coll.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Dialect/Symm/IR/Symm.h"
#include "moe-mlir/InitAllDialects.h"

#include "mlir/CAPI/Registration.h"
#include "mlir/InitAllExtensions.h"

MLIR_DEFINE_CAPI_DIALECT_REGISTRATION(Coll, coll, mlir::coll::CollDialect)
MLIR_DEFINE_CAPI_DIALECT_REGISTRATION(MoE, moe, mlir::moe::MoEDialect)
MLIR_DEFINE_CAPI_DIALECT_REGISTRATION(Symm, symm, mlir::symm::SymmDialect)

void moeRegisterAllDialects(MlirDialectRegistry registry) {
  mlir::moe::registerAllDialects(*unwrap(registry));
  mlir::registerAllExtensions(*unwrap(registry));
}
