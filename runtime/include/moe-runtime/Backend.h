//===- Backend.h - what a kind of device does for the runtime ---*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The interface between the runtime's core and a backend. The host backend
/// implements it with memory files and atomics; the CUDA backend with the
/// driver's virtual memory management and stream operations.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_BACKEND_H
#define MOE_RUNTIME_BACKEND_H

#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/Manifest.h"
#include "moe-runtime/Memory.h"
#include "moe-runtime/Status.h"

#include <array>
#include <dlpack/dlpack.h>
#include <memory>
#include <string_view>

namespace moe::rt {

/// What a waiting rank asks from time to time: is there a reason to give up?
class WaitGuard {
public:
  virtual ~WaitGuard();
  /// Not Ok when the group has failed, the awaited rank is gone, ranks run
  /// different collectives, or time is up. `seen` is the awaited flag's value
  /// now. Cheap enough for every few microseconds.
  virtual Status check(uint64_t seen) = 0;
  /// Sleeps for at most so long, or until the flag is likely to be there.
  virtual void sleep(int64_t mostNs);
};

/// What other ranks need in order to map a chunk of memory: a descriptor, or
/// an opaque blob of the backend, or both. `owner` of the rank that made the
/// chunk keeps it until all ranks have mapped it.
struct ChunkHandle {
  UniqueFd fd;
  std::array<unsigned char, 64> blob{};
  std::shared_ptr<void> owner;
};

using EntryFunction = void (*)(void **args);

/// Where a call runs: in order on the backend's own queue, or on a stream of
/// the caller's.
struct StreamRef {
  bool isOwn = true;
  void *handle = nullptr;
};

/// The kernels of a loaded artifact, and the record of what went wrong in
/// them.
class Program {
public:
  virtual ~Program();
  /// As the host sees it, and as kernels do.
  virtual moert_device_record *record() = 0;
  virtual moert_device_record *deviceRecord() = 0;
};

/// A kernel launch of generated code.
struct KernelLaunch {
  const char *kernel;
  int64_t blocks;
  int64_t threads;
  int64_t sharedBytes;
  void **params;
};

class Backend {
public:
  virtual ~Backend();

  /// "host", as the manifest's `target` begins.
  virtual const char *name() const = 0;

  /// Ok when this backend can run the artifact.
  virtual Status checkArtifact(const Manifest &manifest) = 0;

  /// \name Devices
  /// What a backend does whose generated code queues work on a device. The
  /// host backend has no use for it.
  /// @{
  virtual DLDevice device() const { return {kDLCPU, 0}; }
  virtual const char *deviceName() const { return ""; }
  /// What moe-compile calls it: "host", "cuda:sm_90".
  virtual const char *target() const { return name(); }
  /// Whether a call returns before its work is done.
  virtual bool isAsynchronous() const { return false; }
  virtual std::shared_ptr<Memory> createMemory() = 0;
  /// Null when there is nothing to load. `image` may be empty; the rest of it
  /// is followed by a NUL.
  virtual Expected<std::unique_ptr<Program>>
  loadProgram(std::string_view image);
  /// What follows on this thread goes to `stream`, until endCall.
  virtual Status beginCall(const StreamRef &stream);
  virtual void endCall() {}
  virtual Status launch(Program &program, const KernelLaunch &launch);
  /// Copies between host and device in any direction, in order of the stream.
  virtual Status copy(void *to, const void *from, size_t bytes);
  /// The same to host memory of the backend, of which the address and, in
  /// `bytes`, the part that was copied is returned.
  virtual Expected<const void *> startRead(const void *from, size_t &bytes);
  /// Host memory that `copy` may use after it has returned. It lives as long as
  /// the backend, or longer where work may use it then.
  virtual Expected<char *> pinHostMemory(size_t bytes);
  /// Whether what the running call queues goes to a graph.
  virtual bool isCapturing() const { return false; }
  /// Whether all work on the stream is done.
  virtual Expected<bool> isDone(const StreamRef &stream);
  /// Waits until no work uses memory that is to be freed next. Work that has
  /// not ended after `seconds` never will: it is abandoned.
  virtual void settle(double seconds) { (void)seconds; }
  /// How many graphs have captured launches, and may be replayed at any time:
  /// what these use is not to be freed.
  virtual int64_t numGraphs() const { return 0; }
  /// Some work never ended: what it may use is not to be freed.
  virtual void abandon() {}
  /// @}

  /// \name Symmetric memory
  /// The heap reserves one range, creates chunks, and maps the chunks of all
  /// ranks into the range, each into its rank's slice.
  /// @{

  /// Sizes and addresses of chunks are multiples of this.
  virtual size_t granularity() const = 0;
  /// Upper bound of what each rank can contribute, for early errors.
  virtual size_t memoryBytes() const = 0;
  /// What each rank can get now, where asking for more would not fail by
  /// itself.
  virtual size_t freeBytes() const { return SIZE_MAX; }
  virtual Expected<char *> reserve(size_t bytes) = 0;
  virtual void release(char *base, size_t bytes) = 0;
  /// Memory of this rank, zeroed.
  virtual Expected<ChunkHandle> createChunk(size_t bytes) = 0;
  /// Maps a chunk, this rank's or a peer's, inside the reserved range.
  virtual Status mapChunk(const ChunkHandle &chunk, char *address,
                          size_t bytes) = 0;
  virtual void unmapChunk(char *address, size_t bytes) = 0;
  /// @}

  /// \name Access from outside an entry
  /// `symm` points into any slice; the other side is ordinary host memory.
  /// @{
  virtual Status zero(void *symm, size_t bytes) = 0;
  virtual Status copyIn(void *symm, const void *host, size_t bytes) = 0;
  virtual Status copyOut(void *host, const void *symm, size_t bytes) = 0;
  /// Release, system scope: everything this rank wrote before is visible to
  /// the rank whose wait sees `value`.
  virtual Status signal(uint64_t *flag, uint64_t value) = 0;
  /// Acquire, system scope: returns Ok once `*flag` is at least `value`, or
  /// the guard's error.
  virtual Status wait(const uint64_t *flag, uint64_t value,
                      WaitGuard &guard) = 0;
  /// @}

  /// Runs an entry. It may be left by longjmp, so no object with a destructor
  /// lives in the frame that calls `entry`.
  virtual void invoke(EntryFunction entry, void **args) = 0;
};

/// The backend that needs nothing but Linux.
Expected<std::unique_ptr<Backend>> createHostBackend(Bootstrap &bootstrap);

/// Ranks on NVIDIA GPUs of one machine. `device` is the GPU of this rank, or
/// -1. Collective.
Expected<std::unique_ptr<Backend>> createCudaBackend(Bootstrap &bootstrap,
                                                     int device);

/// Names of the GPUs that the CUDA backend could use, or why there are none.
Expected<std::vector<std::string>> listCudaDevices();

/// The backend called `name`; MOERT_UNAVAILABLE for one that is not known or
/// not possible on this machine. Collective.
Expected<std::unique_ptr<Backend>>
createBackend(const std::string &name, Bootstrap &bootstrap, int device = -1);

} // namespace moe::rt

#endif // MOE_RUNTIME_BACKEND_H
