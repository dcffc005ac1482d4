/*===- CpuKernel.h - kernels for the driver without a GPU -------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// To the driver in this folder an image is a shared library. For each kernel
// NAME it exports a description `NAME_on_cpu`.
//
//===----------------------------------------------------------------------===*/

#ifndef MOE_RUNTIME_TESTS_DRIVER_CPUKERNEL_H
#define MOE_RUNTIME_TESTS_DRIVER_CPUKERNEL_H

#include <stdint.h>

struct moe_cpu_grid {
  int64_t blocks, threads, sharedBytes;
};

struct moe_cpu_kernel {
  /* Does the work of the whole grid, and returns when that is done. */
  void (*run)(void **params, const struct moe_cpu_grid *grid);
  int64_t numParams;
  /* Bytes of each, which the driver copies at the launch. */
  const int64_t *paramBytes;
};

#endif /* MOE_RUNTIME_TESTS_DRIVER_CPUKERNEL_H */
