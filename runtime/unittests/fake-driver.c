/*===- fake-driver.c - a driver that knows no more than its version -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===*/

int cuDriverGetVersion(int *version) {
  *version = VERSION;
  return 0;
}
