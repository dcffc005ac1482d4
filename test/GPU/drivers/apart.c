//===- apart.c - the CUDA driver of GPUs that do not reach each other -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Stands before the machine's driver, on which it depends under another name,
/// and hides that one GPU can access another's memory.
///
//===----------------------------------------------------------------------===//

int cuDeviceCanAccessPeer(int *can, int device, int peer) {
  (void)device;
  (void)peer;
  *can = 0;
  return 0;
}
