//===- Module.cpp - the extension module moe_mlir._runtime ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../MainInterpreter.h"
#include "../jax/Exchange.h"
#include "Packed.h"

namespace nb = nanobind;
using namespace moe::py;

NB_MODULE(_runtime, module) {
  requireMainInterpreter("moe_mlir._runtime");
  module.doc() = "The runtime's C API. Use moe_mlir.runtime.";
  module.def("version", &moert_version,
             "Version of libmoe_runtime.so, such as '0.1.0'.");
  bindContext(module);
  bindTensor(module);
  bindArtifact(module);
  bindEntry(module);
  bindPacked(module);
  bindXla(module);
}
