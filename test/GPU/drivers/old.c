//===- old.c - answers as a CUDA driver of long ago -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A libcuda.so.1 of CUDA 11.0, as far as anyone can ask it: it starts, tells
/// its version, and has nothing that came later.
///
//===----------------------------------------------------------------------===//

int cuInit(unsigned flags) { return flags != 0; }

int cuDriverGetVersion(int *version) {
  *version = 11000;
  return 0;
}

int cuDeviceGetCount(int *count) {
  *count = 8;
  return 0;
}

int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return 0;
}

int cuGetErrorString(int error, const char **text) {
  *text = error ? "error" : "no error";
  return 0;
}
