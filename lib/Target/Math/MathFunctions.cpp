//===- MathFunctions.cpp - math functions of f32 in generated code --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// No part of the compiler: Clang makes LLVM bitcode of this file, which is
// linked with libclc's and embedded (CMakeLists.txt). Every target links the
// same functions into its code, so that all give the same bits.
//
// A function of f32 is computed in f64 and rounded once. libclc's functions of
// f64 are off by a few units in the 53rd bit at most, so what is left of their
// error is not seen in 24 bits, unless the exact result lies that close to the
// middle of two values of f32.
//
//===----------------------------------------------------------------------===//

// libclc's functions are those of OpenCL C, whose names are mangled like those
// of C++.
double acos(double);
double acosh(double);
double asin(double);
double asinh(double);
double atan(double);
double atan2(double, double);
double atanh(double);
double cbrt(double);
double cos(double);
double cosh(double);
double erf(double);
double erfc(double);
double exp(double);
double exp2(double);
double expm1(double);
double fmod(double, double);
double log(double);
double log10(double);
double log1p(double);
double log2(double);
double pow(double, double);
double sin(double);
double sinh(double);
double tan(double);
double tanh(double);

#define MOE_MATH_UNARY(name)                                                   \
  extern "C" float moe_math_##name(float x) {                                  \
    return static_cast<float>(name(static_cast<double>(x)));                   \
  }
/// Of a function that is odd and would lose the sign of -0.
#define MOE_MATH_KEEPS_ZERO(name)                                              \
  extern "C" float moe_math_##name(float x) {                                  \
    return x == 0 ? x : static_cast<float>(name(static_cast<double>(x)));      \
  }
#define MOE_MATH_BINARY(name)                                                  \
  extern "C" float moe_math_##name(float x, float y) {                         \
    return static_cast<float>(                                                 \
        name(static_cast<double>(x), static_cast<double>(y)));                 \
  }

MOE_MATH_UNARY(acos)
MOE_MATH_UNARY(acosh)
MOE_MATH_KEEPS_ZERO(asin)
MOE_MATH_UNARY(asinh)
MOE_MATH_KEEPS_ZERO(atan)
MOE_MATH_BINARY(atan2)
MOE_MATH_UNARY(atanh)
MOE_MATH_UNARY(cbrt)
MOE_MATH_UNARY(cos)
MOE_MATH_UNARY(cosh)
MOE_MATH_KEEPS_ZERO(erf)
MOE_MATH_UNARY(erfc)
MOE_MATH_UNARY(exp)
MOE_MATH_UNARY(exp2)
MOE_MATH_KEEPS_ZERO(expm1)
// Exact, and so is the conversion back.
MOE_MATH_BINARY(fmod)
MOE_MATH_UNARY(log)
MOE_MATH_UNARY(log10)
MOE_MATH_UNARY(log1p)
MOE_MATH_UNARY(log2)
MOE_MATH_BINARY(pow)
MOE_MATH_KEEPS_ZERO(sin)
MOE_MATH_UNARY(sinh)
MOE_MATH_KEEPS_ZERO(tan)
MOE_MATH_UNARY(tanh)

extern "C" float moe_math_rsqrt(float x) {
  return static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(x)));
}

extern "C" double moe_math_fmod_f64(double x, double y) { return fmod(x, y); }

/// The power in two parts, each of which is exact in f64: the second is zero up
/// to 2^53.
static double power(double x, long long n) {
  double size = __builtin_fabs(x), upper = static_cast<double>(n);
  double result = pow(size, upper);
  if (long long lower = n - static_cast<long long>(upper))
    result *= pow(size, static_cast<double>(lower));
  return n & 1 ? __builtin_copysign(result, x) : result;
}

extern "C" float moe_math_fpowi(float x, long long n) {
  return static_cast<float>(power(static_cast<double>(x), n));
}

extern "C" double moe_math_fpowi_f64(double x, long long n) {
  return power(x, n);
}
