//===- Module.h - kernels of an artifact ------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CUDA_MODULE_H
#define MOE_RUNTIME_LIB_CUDA_MODULE_H

#include "Gpu.h"
#include "moe-runtime/Backend.h"

#include <map>
#include <string_view>
#include <vector>

namespace moe::rt::cuda {

/// Names of the kernels of an image, which is a PTX text or an ELF file.
std::vector<std::string> listKernels(std::string_view image);

/// A loaded image, and an error record in pinned memory. All kernels are
/// loaded at once: a rank that loaded one while another rank's kernel waits
/// for it would wait, too.
class Module : public Program {
public:
  /// `image` may be empty.
  static Expected<std::unique_ptr<Module>> load(std::shared_ptr<Gpu> gpu,
                                                std::string_view image);
  ~Module() override;

  moert_device_record *record() override { return hostRecord; }
  moert_device_record *deviceRecord() override { return mappedRecord; }

  /// Launches as many blocks as were asked for, or the share of the GPU that
  /// one of `ranksOnGpu` ranks has, so that all run at the same time.
  Status launch(const KernelLaunch &launch, StreamHandle stream,
                int ranksOnGpu);

private:
  explicit Module(std::shared_ptr<Gpu> gpu) : gpu(std::move(gpu)) {}
  Status loadImage(std::string_view image);

  struct Kernel {
    FunctionHandle function = nullptr;
    int sharedLimit = 48 << 10;
    /// (threads, shared bytes) -> blocks that run on the GPU at a time.
    std::map<std::pair<int64_t, int64_t>, int64_t> residentBlocks;
  };
  Expected<Kernel *> findKernel(const char *name);
  Expected<int64_t> countResident(Kernel &kernel, const KernelLaunch &launch);

  std::shared_ptr<Gpu> gpu;
  ModuleHandle handle = nullptr;
  std::map<std::string, Kernel, std::less<>> kernels;
  moert_device_record *hostRecord = nullptr;
  moert_device_record *mappedRecord = nullptr;
};

} // namespace moe::rt::cuda

#endif // MOE_RUNTIME_LIB_CUDA_MODULE_H
