//===- Error.h - errors of the runtime as exceptions ------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_ERROR_H
#define MOE_PYTHON_RUNTIME_ERROR_H

#include "moe-runtime/Runtime.h"

#include <nanobind/nanobind.h>
#include <string>

namespace moe::py {

/// Raises MoEError for the last call of this thread, which has failed.
[[noreturn]] void raiseLastError();

inline void check(moert_code code) {
  if (code != MOERT_OK)
    raiseLastError();
}

/// Raises MoEError with INVALID_ARGUMENT for what the extension itself refuses.
[[noreturn]] void refuse(const std::string &message, int32_t rank = -1,
                         const std::string &expected = "",
                         const std::string &seen = "");

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_ERROR_H
