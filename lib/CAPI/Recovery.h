//===- Recovery.h - Surviving crashes of the compiler -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_CAPI_RECOVERY_H
#define MOE_MLIR_LIB_CAPI_RECOVERY_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include <optional>
#include <string>

namespace mlir::moe {

/// Runs `body` as `moeRunRecoverably` does. Returns what went wrong, or
/// nothing.
std::optional<std::string> runRecoverably(llvm::function_ref<void()> body);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_CAPI_RECOVERY_H
