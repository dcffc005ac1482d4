//===- HostCpu.cpp - Levels of x86-64 -------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Target/Host/Host.h"

#include "llvm/TargetParser/Host.h"

using namespace mlir;

ArrayRef<StringRef> moe::getHostCpuLevels() {
  static constexpr StringRef levels[] = {"x86-64", "x86-64-v2", "x86-64-v3",
                                         "x86-64-v4"};
  return levels;
}

StringRef moe::getNativeCpuLevel() {
  // What each level adds to the one below (x86-64 psABI).
  static constexpr ArrayRef<StringRef> none;
  static constexpr StringRef v2[] = {"cx16",  "popcnt", "sahf",
                                     "ssse3", "sse4.1", "sse4.2"};
  static constexpr StringRef v3[] = {"avx",  "avx2", "bmi",   "bmi2",
                                     "f16c", "fma",  "lzcnt", "movbe"};
  static constexpr StringRef v4[] = {"avx512f", "avx512bw", "avx512cd",
                                     "avx512dq", "avx512vl"};
  const ArrayRef<StringRef> added[] = {none, v2, v3, v4};
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  StringRef native = getHostCpuLevels().front();
  for (auto [level, names] : llvm::zip_equal(getHostCpuLevels(), added)) {
    if (!llvm::all_of(names, [&](StringRef name) { return features[name]; }))
      break;
    native = level;
  }
  return native;
}
