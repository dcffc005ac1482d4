//===- CudaBackend.h - ranks on GPUs of one machine -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CUDA_CUDABACKEND_H
#define MOE_RUNTIME_LIB_CUDA_CUDABACKEND_H

#include "AddressSpace.h"
#include "DeviceArena.h"
#include "Gpu.h"
#include "GraphHolds.h"
#include "moe-runtime/Backend.h"

#include <optional>

namespace moe::rt::cuda {

class CudaBackend : public Backend {
public:
  /// What ranks tell each other when they meet.
  struct RankFacts {
    int32_t isUsable; ///< this rank has a GPU
    int32_t ordinal;
    int32_t handleType;
    int32_t padding;
    Uuid uuid;
    char name[64];
  };

  /// This rank's part: opens the GPU.
  Status open(int ordinal, int rank);
  RankFacts facts() const;
  /// The part that needs all: peer access and a common way to share memory.
  Status meet(const std::vector<RankFacts> &all, Bootstrap &bootstrap,
              std::shared_ptr<AddressSpace> space);
  ~CudaBackend() override;

  const char *name() const override { return "cuda"; }
  Status checkArtifact(const Manifest &manifest) override;
  DLDevice device() const override { return {kDLCUDA, gpu->ordinal()}; }
  const char *deviceName() const override { return gpu->name().c_str(); }
  const char *target() const override { return targetName.c_str(); }
  bool isAsynchronous() const override { return true; }
  std::shared_ptr<Memory> createMemory() override;
  Expected<std::unique_ptr<Program>>
  loadProgram(std::string_view image) override;
  Status beginCall(const StreamRef &stream) override;
  void endCall() override;
  Status launch(Program &program, const KernelLaunch &launch) override;
  Status copy(void *to, const void *from, size_t bytes) override;
  Expected<const void *> startRead(const void *from, size_t &bytes) override;
  Expected<char *> pinHostMemory(size_t bytes) override;
  bool isCapturing() const override { return isCapture; }
  Expected<bool> isDone(const StreamRef &stream) override;
  void settle(double seconds) override;
  int64_t numGraphs() const override { return graphs.count(); }
  void abandon() override;

  size_t granularity() const override { return gpu->granularity(); }
  size_t memoryBytes() const override {
    return gpu->memoryBytes() / ranksOnGpu;
  }
  Expected<char *> reserve(size_t bytes) override {
    return space->reserve(*gpu, bytes);
  }
  void release(char *base, size_t bytes) override {
    if (!isAbandoned)
      space->release(*gpu, base, bytes);
  }
  Expected<ChunkHandle> createChunk(size_t bytes) override;
  Status mapChunk(const ChunkHandle &chunk, char *address,
                  size_t bytes) override {
    return space->map(*gpu, handleType, chunk, address, bytes);
  }
  void unmapChunk(char *address, size_t bytes) override {
    if (!isAbandoned)
      space->unmap(*gpu, address, bytes);
  }

  Status zero(void *symm, size_t bytes) override {
    return gpu->zeroNow(symm, bytes);
  }
  Status copyIn(void *symm, const void *host, size_t bytes) override {
    return gpu->copyNow(symm, host, bytes);
  }
  Status copyOut(void *host, const void *symm, size_t bytes) override {
    return gpu->copyNow(host, symm, bytes);
  }
  Status signal(uint64_t *flag, uint64_t value) override {
    return gpu->copyNow(flag, &value, sizeof(value));
  }
  Status wait(const uint64_t *flag, uint64_t value, WaitGuard &guard) override;
  void invoke(EntryFunction entry, void **args) override { entry(args); }

  /// \name For transports
  /// @{
  const std::shared_ptr<Gpu> &gpuOfRank() const { return gpu; }
  StreamHandle handleOf(const StreamRef &stream) const {
    return stream.isOwn ? ownStream : static_cast<StreamHandle>(stream.handle);
  }
  /// @}

private:
  std::shared_ptr<Gpu> gpu;
  std::string targetName; ///< "cuda:sm_90"
  std::shared_ptr<AddressSpace> space;
  std::weak_ptr<DeviceArena> arena;
  HandleType handleType = handleNone;
  int ranksOnGpu = 1;
  StreamHandle ownStream = nullptr;
  std::vector<void *> pinned; ///< host memory
  char *bounce = nullptr;     ///< of it, for reads
  GraphHolds graphs;
  bool isAbandoned = false;

  // The running call.
  StreamHandle stream = nullptr;
  bool isCapture = false;
  std::optional<Current> current;
};

} // namespace moe::rt::cuda

#endif // MOE_RUNTIME_LIB_CUDA_CUDABACKEND_H
