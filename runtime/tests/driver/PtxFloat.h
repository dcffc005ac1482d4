//===- PtxFloat.h - floating point of PTX -----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_PTXFLOAT_H
#define MOE_RUNTIME_TESTS_DRIVER_PTXFLOAT_H

#include "PtxAlu.h"

namespace moe::standin {

inline bool isFloat(Type type) {
  return type == Type::F16 || type == Type::BF16 || type == Type::F32 ||
         type == Type::F64;
}

inline int64_t loadSigned(Type type, uint64_t bits) {
  int unused = 64 - bitsOf(type);
  return static_cast<int64_t>(bits << unused) >> unused;
}

template <typename T> bool compare(Cmp cmp, T a, T b) {
  switch (cmp) {
  case Cmp::Eq:
    return a == b;
  case Cmp::Ne:
    return a != b;
  case Cmp::Lt:
    return a < b;
  case Cmp::Le:
    return a <= b;
  case Cmp::Gt:
    return a > b;
  default:
    return a >= b;
  }
}

/// What `evaluate` does where `op.type` is a float.
uint64_t evaluateFloat(const Instruction &op, const uint64_t *src);
bool compareFloats(const Instruction &op, const uint64_t *src);

/// A conversion from a float, to one, or both.
uint64_t convertFloats(const Instruction &op, const uint64_t *src);

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_DRIVER_PTXFLOAT_H
