//===- CudaMain.cpp - the conformance suite on the CUDA backend -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CUDA/Gpu.h"
#include "RankPool.h"

#include <map>

using namespace moe::rt;

/// Keeps the context's GPU open to the end of the process. Never closed, since
/// the driver may end before statics do.
static void keepGpu(Context &context) {
  static std::mutex mutex;
  static auto *kept = new std::map<int, std::shared_ptr<cuda::Gpu>>();
  int ordinal = context.device().device().device_id;
  auto gpu = cuda::Gpu::open(ordinal);
  std::lock_guard<std::mutex> lock(mutex);
  if (gpu.isOk())
    (*kept)[ordinal] = gpu.take();
}

const moe::rt::cts::BackendUnderTest moe::rt::cts::backendUnderTest = {
    "cuda", "cuda/", 16, false, keepGpu, true};

int main(int argc, char **argv) {
  // Read by the driver when it starts. Ranks that are threads share a GPU: no
  // stream may queue behind another one's, and no kernel may be loaded while
  // another runs.
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", /*overwrite=*/0);
  setenv("CUDA_MODULE_LOADING", "EAGER", /*overwrite=*/0);
  return moe::rt::cts::runSuite(argc, argv);
}
