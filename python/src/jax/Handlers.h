//===- Handlers.h - functions that XLA calls ---------------------*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_JAX_HANDLERS_H
#define MOE_PYTHON_JAX_HANDLERS_H

#include "XlaFfi.h"

namespace moe::py {

/// A call of an entry, on CPU and on CUDA devices.
struct XlaHandlers {
  xla::Handler *instantiateOnCpu;
  xla::Handler *executeOnCpu;
  xla::Handler *executeOnCuda;
  xla::TypeId *stateType;
  const xla::TypeInfo *stateInfo;
};

XlaHandlers xlaHandlers();

} // namespace moe::py

#endif // MOE_PYTHON_JAX_HANDLERS_H
