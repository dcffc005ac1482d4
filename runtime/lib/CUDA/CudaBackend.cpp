//===- CudaBackend.cpp - ranks on GPUs of one machine ---------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaBackend.h"

#include "Core/BoundedCall.h"
#include "Module.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <ctime>

using namespace moe::rt;
using namespace moe::rt::cuda;

static constexpr size_t bounceBytes = 64 << 10;
static constexpr double setupSeconds = 60;

//===----------------------------------------------------------------------===//
// Set-up
//===----------------------------------------------------------------------===//

Status CudaBackend::open(int ordinal, int rank) {
  if (ordinal < 0) {
    auto count = Gpu::count();
    if (!count.isOk())
      return count.status();
    ordinal = rank % *count;
  }
  auto opened = Gpu::open(ordinal);
  if (!opened.isOk())
    return opened.status();
  gpu = opened.take();
  targetName = format("cuda:sm_%d", gpu->capability());
  Current here(*gpu);
  const Driver &api = gpu->driver();
  if (Status s = gpu->check(api.streamCreate(&ownStream, streamNonBlocking),
                            "making a stream");
      !s.isOk())
    return s;
  auto memory = pinHostMemory(bounceBytes);
  if (!memory.isOk())
    return memory.status();
  bounce = *memory;
  auto probed = probeHandleType(gpu);
  if (!probed.isOk())
    return probed.status();
  handleType = *probed;
  return Status::ok();
}

CudaBackend::~CudaBackend() {
  if (!gpu || isAbandoned)
    return;
  Current here(*gpu);
  for (void *memory : pinned)
    gpu->driver().memFreeHost(memory);
  if (ownStream)
    gpu->driver().streamDestroy(ownStream);
}

CudaBackend::RankFacts CudaBackend::facts() const {
  RankFacts facts{};
  facts.isUsable = ownStream != nullptr;
  if (!gpu)
    return facts;
  facts.ordinal = gpu->ordinal();
  facts.handleType = handleType;
  facts.uuid = gpu->uuid();
  std::strncpy(facts.name, gpu->name().c_str(), sizeof(facts.name) - 1);
  return facts;
}

static bool isSameGpu(const Uuid &a, const Uuid &b) {
  return std::memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

/// Whether `gpu` reaches the memory of the GPU with this id; true when that
/// one is not visible here, and mapping has to show it.
static bool canReach(const Gpu &gpu, const Uuid &uuid) {
  const Driver &api = gpu.driver();
  int count = 0;
  api.deviceGetCount(&count);
  for (int i = 0; i < count; ++i) {
    Device other;
    Uuid otherUuid{};
    if (api.deviceGet(&other, i) != success ||
        api.deviceGetUuid(&otherUuid, other) != success ||
        !isSameGpu(otherUuid, uuid))
      continue;
    int isPossible = 0;
    return api.deviceCanAccessPeer(&isPossible, gpu.device(), other) ==
               success &&
           isPossible;
  }
  return true;
}

static const char *describe(int handleType) {
  return handleType == handlePosixFd  ? "file descriptors"
         : handleType == handleFabric ? "fabric handles"
                                      : "nothing";
}

/// Ranks that are threads of this process and share a GPU wait for each other's
/// kernels, so no stream of theirs may queue behind another one's. The driver
/// reads how many queues there are when it starts.
static Status checkQueues(const Gpu &gpu, int threadsOnGpu) {
  constexpr int byDefault = 8;
  const char *text = std::getenv("CUDA_DEVICE_MAX_CONNECTIONS");
  int queues = text ? std::atoi(text) : byDefault;
  // A stream of each rank, and one for copies.
  if (threadsOnGpu + 1 <= queues)
    return Status::ok();
  return makeError(MOERT_UNAVAILABLE,
                   "%d ranks are threads of this process on %s, whose streams "
                   "would wait for each other: start the program with "
                   "CUDA_DEVICE_MAX_CONNECTIONS=%d or more in its environment",
                   threadsOnGpu, gpu.str().c_str(), threadsOnGpu + 1);
}

Status CudaBackend::meet(const std::vector<RankFacts> &all,
                         Bootstrap &bootstrap,
                         std::shared_ptr<AddressSpace> addressSpace) {
  int rank = bootstrap.rankInWhole(bootstrap.rank());
  space = std::move(addressSpace);
  ranksOnGpu = 0;
  for (size_t peer = 0; peer < all.size(); ++peer) {
    int peerRank = bootstrap.rankInWhole(static_cast<int>(peer));
    if (!all[peer].isUsable)
      return makeError(MOERT_PEER_FAILED, "rank %d has no GPU", peerRank);
    if (all[peer].handleType != handleType)
      return makeError(MOERT_UNAVAILABLE,
                       "rank %d hands out memory by %s, but rank %d by %s",
                       rank, describe(handleType), peerRank,
                       describe(all[peer].handleType));
    if (isSameGpu(all[peer].uuid, gpu->uuid()))
      ++ranksOnGpu;
    else if (!canReach(*gpu, all[peer].uuid))
      return makeError(MOERT_UNAVAILABLE,
                       "%s of rank %d has no peer access to GPU %d (%s) of "
                       "rank %d",
                       gpu->str().c_str(), rank, all[peer].ordinal,
                       all[peer].name, peerRank);
  }
  bool areThreads = bootstrap.localGroup() != nullptr;
  return areThreads && ranksOnGpu > 1 ? checkQueues(*gpu, ranksOnGpu)
                                      : Status::ok();
}

Expected<std::unique_ptr<Backend>>
moe::rt::createCudaBackend(Bootstrap &bootstrap, int device) {
  auto backend = std::make_unique<CudaBackend>();
  Status mine = backend->open(device, bootstrap.rank());
  CudaBackend::RankFacts facts = backend->facts();
  facts.isUsable = mine.isOk();
  std::vector<CudaBackend::RankFacts> all(bootstrap.size());
  // GPUs take their time to start.
  double timeout = bootstrap.timeoutSeconds();
  bootstrap.setTimeout(std::max(timeout, setupSeconds));
  Status gathered = bootstrap.allGather(&facts, sizeof(facts), all.data());
  bootstrap.setTimeout(timeout);
  if (!gathered.isOk())
    return gathered;
  if (!mine.isOk())
    return mine;
  std::shared_ptr<AddressSpace> space;
  if (LocalGroup *local = bootstrap.localGroup())
    space = local->share<AddressSpace>(
        "cuda-address-space", [] { return std::make_shared<AddressSpace>(); });
  else
    space = std::make_shared<AddressSpace>();
  if (Status s = backend->meet(all, bootstrap, std::move(space)); !s.isOk())
    return s;
  return std::unique_ptr<Backend>(std::move(backend));
}

Expected<std::vector<std::string>> moe::rt::listCudaDevices() {
  auto driver = Driver::get();
  if (!driver.isOk())
    return driver.status();
  auto count = Gpu::count();
  if (!count.isOk())
    return count.status();
  std::vector<std::string> names;
  for (int i = 0; i < *count; ++i) {
    Device device = 0;
    char name[256] = "";
    if ((*driver)->deviceGet(&device, i) == success)
      (*driver)->deviceGetName(name, sizeof(name), device);
    names.push_back(name);
  }
  return names;
}

Status CudaBackend::checkArtifact(const Manifest &manifest) {
  if (manifest.backendName() != "cuda")
    return makeError(MOERT_UNAVAILABLE,
                     "the artifact is for target '%s', which the cuda backend "
                     "cannot run",
                     manifest.target.c_str());
  if (manifest.gpuCapability > gpu->capability())
    return makeError(MOERT_ABI_MISMATCH,
                     "the artifact needs compute capability %d.%d, and %s has "
                     "%d.%d",
                     manifest.gpuCapability / 10, manifest.gpuCapability % 10,
                     gpu->str().c_str(), gpu->capability() / 10,
                     gpu->capability() % 10);
  return checkCpuLevel(manifest.cpu);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

std::shared_ptr<Memory> CudaBackend::createMemory() {
  // Results keep the arena alive, and that keeps the GPU.
  std::shared_ptr<Gpu> owner = gpu;
  auto memory = std::make_shared<DeviceArena>(DeviceArena::Source{
      [owner, type = handleType](size_t bytes) -> char * {
        auto chunk = owner->mapPrivate(bytes, type);
        return chunk.isOk() ? *chunk : nullptr;
      },
      [owner](char *address, size_t bytes) {
        owner->unmapPrivate(address, bytes);
      },
      [owner] { return owner->settle(); }, owner->granularity()});
  arena = memory;
  return memory;
}

Expected<ChunkHandle> CudaBackend::createChunk(size_t bytes) {
  return cuda::createChunk(gpu, handleType, bytes);
}

Status CudaBackend::wait(const uint64_t *flag, uint64_t value,
                         WaitGuard &guard) {
  int64_t sleepNs = 2000;
  for (;;) {
    uint64_t seen = 0;
    if (Status s = gpu->copyNow(&seen, flag, sizeof(seen)); !s.isOk())
      return s;
    if (seen >= value)
      return Status::ok();
    if (Status s = guard.check(seen); !s.isOk())
      return s;
    timespec pause{0, static_cast<long>(sleepNs)};
    nanosleep(&pause, nullptr);
    sleepNs = std::min<int64_t>(sleepNs * 2, 200000);
  }
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

Expected<std::unique_ptr<Program>>
CudaBackend::loadProgram(std::string_view image) {
  auto module = Module::load(gpu, image);
  if (!module.isOk())
    return module.status();
  return std::unique_ptr<Program>(module.take());
}

Status CudaBackend::beginCall(const StreamRef &ref) {
  stream = handleOf(ref);
  isCapture = false;
  current.emplace(*gpu);
  DeviceArena::User user{stream, 0};
  // The legacy stream cannot be captured, and may not be asked while another
  // stream is.
  if (stream && !ref.isOwn) {
    int state = 0;
    unsigned long long id = 0;
    GraphHandle graph = nullptr;
    Status status =
        gpu->check(gpu->driver().streamGetCaptureInfo(stream, &state, &id,
                                                      &graph, nullptr, nullptr),
                   "looking at the stream");
    isCapture = status.isOk() && state == int(captureActive);
    if (isCapture) {
      user.capture = id;
      status = graphs.add(*gpu, graph, id);
    }
    if (!status.isOk()) {
      current.reset();
      return status;
    }
  }
  if (std::shared_ptr<DeviceArena> memory = arena.lock())
    memory->setUser(user);
  return Status::ok();
}

void CudaBackend::endCall() { current.reset(); }

Status CudaBackend::launch(Program &program, const KernelLaunch &launch) {
  return static_cast<Module &>(program).launch(launch, stream, ranksOnGpu);
}

Status CudaBackend::copy(void *to, const void *from, size_t bytes) {
  if (!bytes)
    return Status::ok();
  return gpu->check(gpu->driver().memcpyAsync(toDevicePtr(to),
                                              toDevicePtr(from), bytes, stream),
                    "copying");
}

Expected<const void *> CudaBackend::startRead(const void *from, size_t &bytes) {
  if (isCapture)
    return Status(MOERT_INVALID_ARGUMENT,
                  "an entry that reads data on the host cannot be captured");
  bytes = std::min(bytes, bounceBytes);
  if (Status s = copy(bounce, from, bytes); !s.isOk())
    return s;
  return static_cast<const void *>(bounce);
}

Expected<char *> CudaBackend::pinHostMemory(size_t bytes) {
  Current here(*gpu);
  RelaxedCapture relaxed(gpu->driver());
  void *memory = nullptr;
  if (Status s = gpu->check(
          gpu->driver().memHostAlloc(&memory, bytes, hostAllocPortableMapped),
          "allocating pinned memory");
      !s.isOk())
    return s;
  pinned.push_back(memory);
  return static_cast<char *>(memory);
}

Expected<bool> CudaBackend::isDone(const StreamRef &ref) {
  Current here(*gpu);
  RelaxedCapture relaxed(gpu->driver());
  Result result = gpu->driver().streamQuery(handleOf(ref));
  if (result == errorNotReady)
    return false;
  if (Status s = gpu->check(result, "waiting for the stream"); !s.isOk())
    return s;
  return true;
}

/// A kernel of a communicator that is lent may wait for ever, and the driver
/// would wait with it.
void CudaBackend::settle(double seconds) {
  if (isAbandoned)
    return;
  auto isSettled = std::make_shared<std::atomic<bool>>(false);
  auto call = BoundedCall::begin(
      [isSettled, gpu = gpu] { *isSettled = gpu->settle(); });
  if (!call.isOk())
    *isSettled = gpu->settle();
  else if (!call->wait(seconds))
    *isSettled = false;
  if (!*isSettled)
    abandon();
}

void CudaBackend::abandon() {
  isAbandoned = true;
  if (std::shared_ptr<DeviceArena> memory = arena.lock())
    memory->abandon();
}
