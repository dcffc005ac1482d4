//===- Module.cpp - The extension module moe_mlir._compiler ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../MainInterpreter.h"
#include "Support.h"

using namespace moe::python;

NB_MODULE(_compiler, module) {
  moe::py::requireMainInterpreter("moe_mlir._compiler");
  module.doc() = "The compiler's C API. Use moe_mlir.compiler.";
  bindExceptions(module);
  bindConstants(module);
  bindContext(module);
  bindOperations(module);
  bindModule(module);
  bindPasses(module);
  bindCompile(module);
}
