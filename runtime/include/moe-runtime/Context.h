//===- Context.h - a rank's membership in a group ---------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CONTEXT_H
#define MOE_RUNTIME_CONTEXT_H

#include "moe-runtime/Backend.h"
#include "moe-runtime/GroupControl.h"
#include "moe-runtime/Manifest.h"
#include "moe-runtime/SymmetricHeap.h"
#include "moe-runtime/Timings.h"

#include <atomic>
#include <csetjmp>
#include <dlpack/dlpack.h>
#include <memory>
#include <string>
#include <vector>

namespace moe::rt {

class Artifact;

/// One public function of a loaded artifact.
struct Entry {
  const Manifest::Entry *description = nullptr;
  EntryFunction function = nullptr;
  Artifact *artifact = nullptr;
  std::string callText; ///< "call of entry 'layer' of artifact 6f0e"
  uint64_t callHash = 0;
  bool verified = false; ///< all ranks have called it once, and agreed
};

/// A loaded shared object and its workspace.
class Artifact {
public:
  /// Opens the file and checks all that needs no other rank. `displayName`
  /// stands for the file in messages.
  static Expected<std::unique_ptr<Artifact>>
  open(const std::string &path, const std::string &displayName);
  ~Artifact();

  const Manifest &manifest() const { return contents; }
  const std::string &manifestText() const { return text; }
  const std::string &name() const { return displayName; }
  uint64_t hash() const { return hashValue; }
  std::vector<Entry> &entries() { return entryList; }
  /// An empty name stands for the only entry.
  Expected<Entry *> entry(const std::string &name);

  char *workspace = nullptr;
  /// PTX text or ELF file of the kernels, or null.
  const char *gpuImage = nullptr;
  /// What the backend made of it.
  std::unique_ptr<Program> program;

private:
  Artifact() = default;
  Status resolveEntries();

  void *handle = nullptr;
  std::string displayName;
  std::string text;
  Manifest contents;
  uint64_t hashValue = 0;
  std::vector<Entry> entryList;
};

struct ContextOptions {
  double timeoutSeconds = 20.0;
  /// Address space, not memory, that each rank's slice may grow into.
  size_t symmReserveBytes = size_t(32) << 30;
  std::string backend = "host";
  /// GPU of this rank, or -1 for the rank modulo the number of GPUs.
  int device = -1;
};

/// A rank's membership in a group. Used by one thread at a time.
class Context {
public:
  /// Collective.
  static Expected<std::unique_ptr<Context>>
  create(std::unique_ptr<Bootstrap> bootstrap, const ContextOptions &options);
  ~Context();

  int rank() const { return bootstrap->rank(); }
  int size() const { return bootstrap->size(); }

  /// Collective.
  Expected<Artifact *> load(const std::string &path,
                            const std::string &displayName);
  /// Collective, unless the group has failed.
  Status unload(Artifact *artifact);

  /// Calls an entry. `outputs` gets one tensor per result, owned by the
  /// caller. After an error of a group the context refuses further calls
  /// until every rank has called reset.
  Status call(Entry &entry, const std::vector<const DLTensor *> &inputs,
              std::vector<DLManagedTensor *> &outputs);

  /// The same, but in order of a stream of the caller's, without waiting. On
  /// the host backend `stream` is null and this is call.
  Status launch(Entry &entry, const std::vector<const DLTensor *> &inputs,
                std::vector<DLManagedTensor *> &outputs, void *stream);
  /// Waits until the work on `stream` is done, and returns what went wrong.
  Status synchronize(void *stream);
  /// What has gone wrong so far.
  Status check();

  /// Copy between a tensor of the device or of host memory and dense host
  /// memory. They wait for the copy, but not for streams.
  Status copyToHost(const DLTensor &source, void *to, size_t bytes);
  Status copyFromHost(const DLTensor &destination, const void *from,
                      size_t bytes);

  /// Collective: makes the group usable after an error.
  Status reset();

  /// Tells the group of an error met outside of a call.
  Status fail(const Status &status);

  Expected<char *> symmAlloc(size_t bytes);
  Status symmFree(void *address);
  SymmetricHeap &heap() { return *symmHeap; }
  Backend &device() { return *backend; }
  GroupControl &control() { return *group; }
  Bootstrap &boot() { return *bootstrap; }
  Timings &timings() { return times; }
  Memory &memory() { return *arena; }
  /// Rank whose error the group stopped for, or -1.
  int originRank() const { return group->originRank(); }

  /// \name The running call, as generated code sees it
  /// Those that return bool record an error and return false when the entry
  /// has to end; the caller then calls unwind.
  /// @{
  static Context *current();
  Artifact *runningArtifact() { return running->artifact; }
  bool beginCollective(const char *op, const char *location, int64_t site);
  void phase(const char *name);
  void endCollective();
  bool wait(const uint64_t *flag, uint64_t value, int64_t peer);
  void failHere(int64_t code, const char *what, int64_t expected, int64_t seen,
                int64_t peer);
  bool allocate(int64_t bytes, int64_t alignment, void *&out);
  bool free(void *ptr);
  bool launchKernel(const KernelLaunch &launch);
  bool copy(void *to, const void *from, int64_t bytes);
  bool read(void *to, const void *from, int64_t bytes);
  int64_t timeoutNs() const { return int64_t(options.timeoutSeconds * 1e9); }
  moert_device_record *deviceRecord();
  /// Records that there was no memory for more than that.
  void stopForMemory() noexcept;
  [[noreturn]] void unwind() { std::longjmp(callExit, 1); }
  /// @}

private:
  Context() = default;
  Status refuseIfFailed() const;
  Status prefixed(const Status &status) const;
  Status runGroupOp(const GroupOp &op);
  Status checkLoadable(const Manifest &manifest);
  Status callGuarded(Entry &entry, const std::vector<const DLTensor *> &inputs,
                     std::vector<DLManagedTensor *> &outputs,
                     const StreamRef &stream);
  Status run(Entry &entry, const std::vector<const DLTensor *> &inputs,
             std::vector<DLManagedTensor *> &outputs, const StreamRef &stream);
  Status enterCall(Entry &entry, const std::string &arguments,
                   const Status &local);
  Status finishCall(const StreamRef &stream, const Status &status,
                    std::vector<DLManagedTensor *> &outputs);
  Status waitForStream(const StreamRef &stream, const Status &known);
  Status whyStop(int64_t &goneSince) const;
  Status deviceError();
  void stopAllKernels();
  void abandonDevice(const Status &reason);
  Status refuseIfLost() const;
  bool invoke(Entry &entry, void **args);
  bool checkOrder(int peer);
  bool stop(const Status &status);
  std::string here() const;

  // Destroyed from the last to the first: artifacts before the heap, the heap
  // before the backend.
  std::unique_ptr<Bootstrap> bootstrap;
  std::unique_ptr<GroupControl> group;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<SymmetricHeap> symmHeap;
  std::vector<std::unique_ptr<Artifact>> artifacts;
  std::shared_ptr<Memory> arena;
  Timings times;
  ContextOptions options;

  std::atomic<bool> busy{false};
  Entry *running = nullptr;
  StreamRef runningOn;
  bool inCollective = false;
  Status callStatus;
  /// Why the device was given up.
  Status lost;
  std::jmp_buf callExit;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CONTEXT_H
