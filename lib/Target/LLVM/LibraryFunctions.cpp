//===- LibraryFunctions.cpp - Functions an artifact imports ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/LLVM/LibraryFunctions.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::moe;

FunctionProvider moe::findFunctionProvider(StringRef name) {
  static const llvm::StringSet<> runtime = {
      "moert_rank",           "moert_symm_base",
      "moert_symm_stride",    "moert_symm_result",
      "moert_phase",          "moert_wait",
      "moert_fail",           "moert_alloc",
      "moert_alloc_result",   "moert_free",
      "moert_all_gather",     "moert_all_to_all",
      "moert_exchange_begin", "moert_exchange_rows",
      "moert_exchange_end",   "moert_collective_begin",
      "moert_collective_end", "moert_launch",
      "moert_copy",           "moert_read",
      "moert_table_end",      "moert_timeout_ns",
      "moert_device_status",  "moert_assertion_failed"};
  static const llvm::StringSet<> libc = {"memcpy", "memmove", "memset",
                                         "memcmp", "bcmp"};
  // Each also with the suffix f.
  static const llvm::StringSet<> libm = {
      "acos",      "acosh",     "asin",    "asinh",  "atan",      "atan2",
      "atanh",     "cbrt",      "ceil",    "cos",    "cosh",      "erf",
      "erfc",      "exp",       "exp2",    "exp10",  "expm1",     "fabs",
      "floor",     "fma",       "fmax",    "fmin",   "fmod",      "frexp",
      "ldexp",     "log",       "log10",   "log1p",  "log2",      "modf",
      "pow",       "nearbyint", "rint",    "round",  "sin",       "sincos",
      "sinh",      "sqrt",      "tan",     "tanh",   "roundeven", "trunc",
      "fdim",      "hypot",     "lgamma",  "tgamma", "lround",    "llround",
      "remainder", "scalbn",    "copysign"};
  if (runtime.contains(name))
    return FunctionProvider::Runtime;
  if (libc.contains(name))
    return FunctionProvider::LibC;
  StringRef base = name;
  if (libm.contains(name) || (base.consume_back("f") && libm.contains(base)))
    return FunctionProvider::LibM;
  return FunctionProvider::Nobody;
}
