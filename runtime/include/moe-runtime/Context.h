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
#include "moe-runtime/Exchanger.h"
#include "moe-runtime/GroupControl.h"
#include "moe-runtime/HostMap.h"
#include "moe-runtime/Manifest.h"
#include "moe-runtime/SharedObject.h"
#include "moe-runtime/SymmetricHeap.h"
#include "moe-runtime/SymmetricResults.h"
#include "moe-runtime/Timings.h"

#include <atomic>
#include <csetjmp>
#include <dlpack/dlpack.h>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace moe::rt {

class Artifact;
class CallFrame;
struct FailedCheck;
struct MessageCalls;
struct RowExchange;

/// One public function of a loaded artifact.
struct Entry {
  const Manifest::Entry *description = nullptr;
  EntryFunction function = nullptr;
  Artifact *artifact = nullptr;
  std::string callText; ///< "call of entry 'layer' of artifact layer.so"
  uint64_t callHash = 0;
  bool verified = false; ///< all ranks have called it once, and agreed
};

/// What the caller can know of the shape of result `index` before it calls
/// `entry` with `inputs`; -1 for the rest.
Status findResultShape(const Manifest::Entry &entry,
                       const std::vector<const DLTensor *> &inputs,
                       size_t index, std::vector<int64_t> &shape);

/// A loaded shared object and its workspace.
class Artifact {
public:
  /// Reads the file and checks all that needs no other rank. `displayName`
  /// stands for the file in messages.
  static Expected<std::unique_ptr<Artifact>>
  open(const std::string &path, const std::string &displayName);
  /// The same of the file's bytes, which are copied.
  static Expected<std::unique_ptr<Artifact>>
  openBytes(std::string_view bytes, const std::string &displayName);
  ~Artifact();

  const Manifest &manifest() const { return contents; }
  const std::string &manifestText() const { return text; }
  const std::string &name() const { return displayName; }
  const Digest &digest() const { return object->digest(); }
  std::vector<Entry> &entries() { return entryList; }
  /// An empty name stands for the only entry.
  Expected<Entry *> entry(const std::string &name);

  /// The context loads it as its artifact `number`. Ranks that call entries of
  /// different loads would use different workspaces, though the bytes may be
  /// the same. `isAgain` when another one has this name, or these bytes.
  void setIdentity(uint64_t number, bool isAgain);
  /// Of bytes and number.
  uint64_t identity() const { return identityValue; }
  /// "artifact layer.so", "artifact layer.so (load 2)".
  const std::string &label() const { return labelText; }

private:
  // Destroyed last: the rest points into it.
  std::shared_ptr<SharedObject> object;

public:
  char *workspace = nullptr;
  SymmetricResults symmetricResults;
  /// PTX text or ELF file of the kernels; may be empty.
  std::string_view gpuImage;
  /// What the backend made of it.
  std::unique_ptr<Program> program;

private:
  Artifact() = default;
  Status resolveEntries();

  std::string displayName;
  std::string text;
  std::string labelText;
  Manifest contents;
  uint64_t identityValue = 0;
  std::vector<Entry> entryList;
};

/// Where the results of a call go.
struct CallOutputs {
  /// To tensors that the runtime makes, and the caller owns; or null.
  std::vector<DLManagedTensor *> *made = nullptr;
  /// Into tensors of the caller's; or null.
  const std::vector<const DLTensor *> *given = nullptr;
};

struct ContextOptions {
  double timeoutSeconds = 20.0;
  /// Address space, not memory, that each rank's slice may grow into.
  size_t symmReserveBytes = size_t(32) << 30;
  std::string backend = "host";
  /// GPU of this rank, or -1 for the rank modulo the number of GPUs.
  int device = -1;
  /// For tests: stands for MOE_HOSTID, which all ranks of a process share.
  std::string hostId;
  LentCommunicators lent;

  /// What can be said before the ranks meet.
  Status check() const;
};

/// A rank's membership in a group. Used by one thread at a time, and by the
/// process that made it: a child that it forks is not the rank.
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
  /// Collective. The same of an artifact in memory, which is copied.
  Expected<Artifact *> loadBytes(std::string_view bytes,
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
  /// The same, with results written to the tensors `outputs`. After an error
  /// their contents are unspecified.
  Status callInto(Entry &entry, const std::vector<const DLTensor *> &inputs,
                  const std::vector<const DLTensor *> &outputs);
  Status launchInto(Entry &entry, const std::vector<const DLTensor *> &inputs,
                    const std::vector<const DLTensor *> &outputs, void *stream);
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

  /// Collective. Of ranks on one host.
  Expected<char *> symmAlloc(size_t bytes);
  Status symmFree(void *address);
  /// Of the ranks of this one's host, numbered as on `onHost`.
  SymmetricHeap &heap() { return *symmHeap; }
  const HostMap &hosts() const { return hostMap; }
  /// The ranks of this one's host; the whole group where there is one host.
  Bootstrap &onHost() { return hostBootstrap ? *hostBootstrap : *bootstrap; }
  Backend &device() { return *backend; }
  GroupControl &control() { return *group; }
  Bootstrap &boot() { return *bootstrap; }
  Timings &timings() { return times; }
  Memory &memory() { return *arena; }
  /// What tensors in host memory come from; the same on the host backend.
  Memory &hostMemory() { return *hostArena; }
  /// An error in a child of the process that made the context.
  Status refuseIfForked() const;
  /// How many graphs have captured launches.
  int64_t numGraphs() const { return backend->numGraphs(); }
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
  bool endCollective();
  bool wait(const uint64_t *flag, uint64_t value, int64_t peer);
  void failHere(const FailedCheck &check);
  void failAssertion(const char *location, const char *text);
  bool allocate(int64_t bytes, int64_t alignment, void *&out);
  bool allocateResult(int64_t index, int64_t bytes, int64_t alignment,
                      void *&out);
  void *symmetricResult(int64_t index, int64_t offset, int64_t bytes);
  bool free(void *ptr);
  /// All-gather and all-to-all.
  enum class Spread { Gather, ToAll };
  bool spread(Spread kind, const void *send, void *recv, int64_t bytes);
  bool beginExchange();
  bool exchangeRows(const RowExchange &rows);
  bool endExchange();
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
  Context();
  Status refuseIfFailed() const;
  Status prefixed(const Status &status) const;
  Status placed(const Status &status) const;
  Status runGroupOp(const GroupOp &op);
  void number(Artifact &artifact);
  Status agreeOnBytes(const Artifact &artifact);
  Status checkLoadable(const Manifest &manifest);
  Status checkTransport(const Manifest &manifest) const;
  Status openTransport();
  Status transportError() const;
  Expected<Artifact *> adopt(Expected<std::unique_ptr<Artifact>> opened,
                             const std::string &displayName);
  Status callGuarded(Entry &entry, const std::vector<const DLTensor *> &inputs,
                     const CallOutputs &outputs, const StreamRef &stream);
  Status run(Entry &entry, const std::vector<const DLTensor *> &inputs,
             const CallOutputs &outputs, const StreamRef &stream);
  Status runEntry(Entry &entry, CallFrame &frame, const CallOutputs &outputs,
                  const StreamRef &stream);
  Status enterCall(Entry &entry, const std::string &arguments,
                   const Status &local);
  Status finishCall(const StreamRef &stream, const Status &status);
  Status waitForStream(const StreamRef &stream, const Status &known);
  Status whyStop(int64_t &goneSince) const;
  Status timeOutOfStream(double seconds) const;
  Status deviceError();
  void stopAllKernels();
  void leaveToGraphs();
  Status findGraphs(bool &areNone) const;
  void abandonDevice(const Status &reason);
  Status refuseIfLost() const;
  Status refuseIfIncomplete() const;
  bool invoke(Entry &entry, void **args);
  bool checkOrder(int peer);
  bool allocateFrom(Memory &memory, int64_t bytes, int64_t alignment,
                    void *&out);
  std::string describeCollective(const CollectiveId &id) const;
  Status compareCollectives(int peer, const CollectiveId &mine,
                            const CollectiveId &theirs) const;
  Status checkLabels() const;
  Status awaitNews() const;
  Status checkMessageCall(const char *function) const;
  template <typename Move> Status moveLabelled(Move move);
  bool endMessages(const Status &status, bool isPlaced);
  void wakeSleepers();
  bool stop(const Status &status);
  std::string here() const;

  pid_t process; ///< that is the rank

  // Destroyed from the last to the first: artifacts before the heap, the heap
  // before the backend.
  std::unique_ptr<Bootstrap> bootstrap;
  HostMap hostMap;
  std::unique_ptr<Bootstrap> hostBootstrap; ///< of several hosts only
  std::unique_ptr<GroupControl> group;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<SymmetricHeap> symmHeap;
  std::unique_ptr<MessageCalls> messages; ///< once an artifact needs it
  std::vector<std::unique_ptr<Artifact>> artifacts;
  /// Unloaded while there were graphs, which may have launches of them.
  std::vector<std::unique_ptr<Artifact>> retired;
  uint64_t numLoads = 0; ///< of artifacts, also of those that are gone
  std::shared_ptr<Memory> arena, hostArena;
  Timings times;
  ContextOptions options;

  std::atomic<bool> busy{false};
  Entry *running = nullptr;
  CallFrame *runningFrame = nullptr;
  StreamRef runningOn;
  bool inCollective = false;
  /// Collectives that this rank has begun, and of each other rank the last one
  /// that it was seen to have begun as well.
  uint64_t collectiveNumber = 0;
  std::vector<uint64_t> sameCollective;
  /// What was waited for last: the address of rank 0's flag, and the value.
  uintptr_t lastFlags = 0;
  uint64_t lastValue = 0;
  Status callStatus;
  /// Why the device was given up.
  Status lost;
  std::jmp_buf callExit;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CONTEXT_H
