/*===- Dialects.h - C interface to the dialects -------------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef MOE_MLIR_C_DIALECTS_H
#define MOE_MLIR_C_DIALECTS_H

#include "mlir-c/IR.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The handles of the dialects, mlirGetDialectHandle__moe__(), __symm__() and
 * __coll__(): enough to parse, verify and print. */
MLIR_DECLARE_CAPI_DIALECT_REGISTRATION(Coll, coll);
MLIR_DECLARE_CAPI_DIALECT_REGISTRATION(MoE, moe);
MLIR_DECLARE_CAPI_DIALECT_REGISTRATION(Symm, symm);

/* Registers these dialects, the upstream dialects and the interface models that
 * the passes of this project need. */
MLIR_CAPI_EXPORTED void moeRegisterAllDialects(MlirDialectRegistry registry);

#ifdef __cplusplus
}
#endif

#endif /* MOE_MLIR_C_DIALECTS_H */
