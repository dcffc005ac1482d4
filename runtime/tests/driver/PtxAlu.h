//===- PtxAlu.h - arithmetic of PTX -----------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_PTXALU_H
#define MOE_RUNTIME_TESTS_DRIVER_PTXALU_H

#include "Ptx.h"

namespace moe::standin {

/// The low `bits` of a value.
inline uint64_t lowBits(uint64_t value, int bits) {
  return bits >= 64 ? value : value & ((uint64_t(1) << bits) - 1);
}

/// Whether `evaluate` knows the operation with its types.
bool canEvaluate(const Instruction &op);

/// The result of an operation that depends on its operands alone; what is above
/// the operands' types in `src` does not count.
uint64_t evaluate(const Instruction &op, const uint64_t *src);

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_DRIVER_PTXALU_H
