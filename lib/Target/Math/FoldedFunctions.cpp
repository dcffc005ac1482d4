//===- FoldedFunctions.cpp - math functions of constants ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// MLIR folds math ops of constants with functions of the C library, whose
/// errors in f32 are up to two units in the last place, and other ones in other
/// versions. A program that is linked with this file folds them as generated
/// code computes them: in f64, rounded once. The error of the C library's f64
/// is as small as that of libclc.
///
/// A definition in the program comes before that of a shared library. To be
/// compiled without built-in functions: no rounding may be moved into a call.
///
//===----------------------------------------------------------------------===//

#include <cmath>

#define MOE_FOLDED_UNARY(name)                                                 \
  extern "C" float name##f(float x) noexcept {                                 \
    return static_cast<float>(::name(static_cast<double>(x)));                 \
  }
#define MOE_FOLDED_BINARY(name)                                                \
  extern "C" float name##f(float x, float y) noexcept {                        \
    return static_cast<float>(                                                 \
        ::name(static_cast<double>(x), static_cast<double>(y)));               \
  }

MOE_FOLDED_UNARY(acos)
MOE_FOLDED_UNARY(acosh)
MOE_FOLDED_UNARY(asin)
MOE_FOLDED_UNARY(asinh)
MOE_FOLDED_UNARY(atan)
MOE_FOLDED_BINARY(atan2)
MOE_FOLDED_UNARY(atanh)
MOE_FOLDED_UNARY(cos)
MOE_FOLDED_UNARY(cosh)
MOE_FOLDED_UNARY(erf)
MOE_FOLDED_UNARY(erfc)
MOE_FOLDED_UNARY(exp)
MOE_FOLDED_UNARY(exp2)
MOE_FOLDED_UNARY(expm1)
MOE_FOLDED_UNARY(log)
MOE_FOLDED_UNARY(log10)
MOE_FOLDED_UNARY(log1p)
MOE_FOLDED_UNARY(log2)
MOE_FOLDED_BINARY(pow)
MOE_FOLDED_UNARY(sin)
MOE_FOLDED_UNARY(sinh)
MOE_FOLDED_UNARY(tan)
MOE_FOLDED_UNARY(tanh)
