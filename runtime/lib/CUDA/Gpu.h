//===- Gpu.h - a GPU and its primary context --------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CUDA_GPU_H
#define MOE_RUNTIME_LIB_CUDA_GPU_H

#include "Driver.h"

#include <memory>
#include <mutex>
#include <string>
#include <unistd.h>

namespace moe::rt::cuda {

/// A GPU whose primary context is retained. One object per GPU and process,
/// kept alive by whoever has memory on it.
class Gpu {
public:
  static Expected<std::shared_ptr<Gpu>> open(int ordinal);
  static Expected<int> count();
  ~Gpu();

  const Driver &driver() const { return api; }
  Device device() const { return handle; }
  int ordinal() const { return index; }
  const std::string &name() const { return deviceName; }
  const Uuid &uuid() const { return deviceUuid; }
  int multiprocessors() const { return numMultiprocessors; }
  /// 90 for compute capability 9.0.
  int capability() const { return computeCapability; }
  size_t memoryBytes() const { return totalBytes; }
  /// Bytes that are free now.
  size_t freeBytes() const;
  /// "GPU 0 (NVIDIA H100 80GB HBM3)".
  std::string str() const;

  AllocationProp allocationProp(int handleTypes) const;
  AccessDesc access() const { return {{1, handle}, 3}; }
  size_t granularity() const { return granularityBytes; }

  /// Copies, or sets to zero, and waits until that is done. Streams of other
  /// threads may have work that waits for this.
  Status copyNow(void *to, const void *from, size_t bytes);
  Status zeroNow(void *to, size_t bytes);

  /// Waits until the GPU has done everything that this process has given it;
  /// false when that fails, as while a stream is captured.
  bool settle();

  /// Memory that only this process maps, never moved.
  /// NCCL shares memory of captured exchanges with other ranks where it can;
  /// without a handle type it tries and leaks.
  Expected<char *> mapPrivate(size_t bytes, int handleTypes = handleNone);
  void unmapPrivate(char *address, size_t bytes);

  Status check(Result result, const char *what) const;

private:
  explicit Gpu(const Driver &api) : api(api) {}
  Status initialize(int ordinal);

  const Driver &api;
  Device handle = 0;
  int index = -1;
  std::string deviceName;
  Uuid deviceUuid{};
  int numMultiprocessors = 0;
  int computeCapability = 0;
  size_t totalBytes = 0;
  size_t granularityBytes = 0;
  ContextHandle context = nullptr;
  StreamHandle copyStream = nullptr;
  std::mutex copyMutex;
  /// In a child that this one forks the driver does not work.
  pid_t process = getpid();

  friend class Current;
};

/// Makes a GPU's context the calling thread's, and restores what was before.
class Current {
public:
  explicit Current(const Gpu &gpu) : gpu(gpu) {
    gpu.api.ctxPushCurrent(gpu.context);
  }
  ~Current() {
    ContextHandle popped;
    gpu.api.ctxPopCurrent(&popped);
  }
  Current(const Current &) = delete;

private:
  const Gpu &gpu;
};

/// Allows calls that a stream capture of this thread would refuse.
class RelaxedCapture {
public:
  explicit RelaxedCapture(const Driver &api) : api(api) {
    api.exchangeCaptureMode(&mode);
  }
  ~RelaxedCapture() { api.exchangeCaptureMode(&mode); }
  RelaxedCapture(const RelaxedCapture &) = delete;

private:
  const Driver &api;
  int mode = captureRelaxed;
};

inline DevicePtr toDevicePtr(const void *address) {
  return reinterpret_cast<DevicePtr>(address);
}

} // namespace moe::rt::cuda

#endif // MOE_RUNTIME_LIB_CUDA_GPU_H
