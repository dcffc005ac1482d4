//===- CompileHook.h - What tests do inside of a compilation ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CAPI_COMPILEHOOK_H
#define MOE_MLIR_LIB_CAPI_COMPILEHOOK_H

#include "llvm/ADT/StringRef.h"
#include <atomic>

namespace mlir::moe {

/// Called, unless null, before each pass of `moeCompile`, with the name of the
/// pass, on the thread that compiles. Only programs that link the objects of
/// the C interface, which are tests, reach it: the library does not export it.
extern std::atomic<void (*)(llvm::StringRef pass)> compileHook;

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CAPI_COMPILEHOOK_H
