//===- PtxOpcode.h - names in PTX -------------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_PTXOPCODE_H
#define MOE_RUNTIME_TESTS_DRIVER_PTXOPCODE_H

#include "Ptx.h"

namespace moe::standin {

/// Offset of dynamic shared memory while a module is parsed.
constexpr int dynamicShared = 1 << 30;

/// Type::None for what is no type.
Type typeNamed(const std::string &name);
/// Number of a Special, or -1.
int specialNamed(const std::string &name);
/// Whether the first operand is a result.
bool givesResult(Op op);
/// Whether there are as many operands as this knows for the instruction.
bool hasItsOperands(const Instruction &op);
/// Whether the result depends on the operands alone.
bool isArithmetic(Op op);
/// Sets what "ld.global.v4.b32" says; false when it is not known.
bool parseOpcode(const std::string &opcode, Instruction &op);

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_DRIVER_PTXOPCODE_H
