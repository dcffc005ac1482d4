//===- Comm.cpp - communicators of the stand-in ---------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StandIn.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <map>
#include <set>
#include <unistd.h>

using namespace moe::standin;

static void pauseUs(int us) {
  std::this_thread::sleep_for(std::chrono::microseconds(us));
}

//===----------------------------------------------------------------------===//
// The driver
//===----------------------------------------------------------------------===//

template <typename Function>
static void lookUp(void *library, const char *symbol, Function &out) {
  out = reinterpret_cast<Function>(dlsym(library, symbol));
  if (out)
    return;
  std::fprintf(stderr, "stand-in NCCL: no stand-in driver: %s\n", symbol);
  std::_Exit(1);
}

const Driver &Driver::get() {
  static const Driver driver = [] {
    Driver it{};
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    lookUp(library, "cuCtxGetDevice", it.ctxGetDevice);
    lookUp(library, "cuDevicePrimaryCtxRetain", it.primaryCtxRetain);
    lookUp(library, "cuCtxPushCurrent_v2", it.ctxPushCurrent);
    lookUp(library, "cuCtxPopCurrent_v2", it.ctxPopCurrent);
    lookUp(library, "cuLaunchHostFunc", it.launchHostFunction);
    lookUp(library, "cuPointerGetAttribute", it.pointerGetAttribute);
    lookUp(library, "cuStreamGetCaptureInfo_v2", it.streamGetCaptureInfo);
    return it;
  }();
  return driver;
}

//===----------------------------------------------------------------------===//
// Environment
//===----------------------------------------------------------------------===//

uint64_t moe::standin::hostHash() {
  const char *name = std::getenv("NCCL_HOSTID");
  return std::hash<std::string>()(name ? name : "");
}

Fault moe::standin::takeFault(int rank) {
  static std::mutex mutex;
  static std::set<std::pair<std::string, int>> taken;
  const char *text = std::getenv("MOE_STANDIN_NCCL_FAULT");
  char kind[16] = "", again = 0;
  int of = -1, after = 0;
  if (!text ||
      std::sscanf(text, "%15[^@]@%d:%d%c", kind, &of, &after, &again) < 2 ||
      of != rank)
    return {};
  std::lock_guard<std::mutex> lock(mutex);
  if (again != '+' && !taken.insert({text, rank}).second)
    return {};
  std::string name = kind;
  return {name == "fail-init"      ? Fault::FailInit
          : name == "hang-init"    ? Fault::HangInit
          : name == "hang-connect" ? Fault::HangConnect
          : name == "error"        ? Fault::Error
          : name == "hang"         ? Fault::Hang
                                   : Fault::None,
          after};
}

//===----------------------------------------------------------------------===//
// Handles
//===----------------------------------------------------------------------===//

namespace {
struct Registry {
  std::mutex mutex;
  std::map<CommHandle, std::unique_ptr<Comm>> comms;
  std::set<CommHandle> retired;
};
} // namespace

/// Never destroyed, since threads of streams may outlive statics.
static Registry &registry() {
  static Registry *it = new Registry();
  return *it;
}

CommHandle moe::standin::add(std::unique_ptr<Comm> comm) {
  Registry &r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  auto handle = reinterpret_cast<CommHandle>(comm.get());
  r.comms[handle] = std::move(comm);
  return handle;
}

Comm *moe::standin::find(CommHandle handle) {
  Registry &r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  auto it = r.comms.find(handle);
  return it == r.comms.end() || r.retired.count(handle) ? nullptr
                                                        : it->second.get();
}

void moe::standin::retire(CommHandle handle) {
  Registry &r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  r.retired.insert(handle);
}

//===----------------------------------------------------------------------===//
// Communicators
//===----------------------------------------------------------------------===//

Comm::Comm(const UniqueId &id, int rank, int size, int device, bool isBlocking,
           Fault fault)
    : rank(rank), size(size), device(device), id(id), isBlocking(isBlocking),
      fault(fault) {}

void Comm::fail(Result result, const std::string &text) {
  std::lock_guard<std::mutex> lock(mutex);
  if (currentState == success || currentState == inProgress)
    errorText = text;
  currentState = result;
}

std::string Comm::lastError() {
  std::lock_guard<std::mutex> lock(mutex);
  return errorText;
}

Result Comm::checkReady() const {
  return currentState == inProgress ? Result(invalidArgument)
                                    : Result(currentState);
}

Result Comm::ask() {
  Result now = currentState;
  if (now == inProgress)
    wasAsked = true;
  return now;
}

void Comm::join() {
  wasAsked = true;
  if (worker.joinable())
    worker.join();
}

/// How long a call that does not block stays in progress for a caller who does
/// not ask.
static constexpr auto longestUnasked = std::chrono::seconds(1);

/// Carries out a call: now, or where calls do not block, in a thread. Whoever
/// asks sees it in progress at least once, however busy the machine is; and the
/// next call of somebody who does not ask is refused.
Result Comm::later(std::function<Result()> work) {
  if (isBlocking)
    return work();
  join();
  wasAsked = false;
  currentState = inProgress;
  worker = std::thread([this, work = std::move(work)] {
    auto latest = std::chrono::steady_clock::now() + longestUnasked;
    while (!wasAsked && !aborted && std::chrono::steady_clock::now() < latest)
      pauseUs(50);
    void *context = nullptr;
    const Driver &driver = Driver::get();
    driver.primaryCtxRetain(&context, device);
    driver.ctxPushCurrent(context);
    Result result = work(), expected = inProgress;
    // What has failed meanwhile stays so.
    currentState.compare_exchange_strong(expected, result);
    driver.ctxPopCurrent(&context);
  });
  return inProgress;
}

Result Comm::initialize() {
  return later([this] { return meet(); });
}

Result Comm::split(CommHandle *out, bool isBlocking) {
  *out = nullptr;
  auto child =
      std::make_unique<Comm>(id, rank, size, device, isBlocking, fault);
  child->segment = segment;
  child->numOperations = numOperations;
  CommHandle made = add(std::move(child));
  return later([out, made] {
    *out = made;
    return Result(success);
  });
}

Result Comm::meet() {
  auto refuse = [&](Result result, const std::string &why) {
    fail(result, why);
    return result;
  };
  if (fault.kind == Fault::FailInit)
    return refuse(systemError, "stand-in: no socket interface found");
  while (fault.kind == Fault::HangInit && !aborted)
    pauseUs(200);
  if (aborted)
    return internalError;
  segment = Segment::open(id);
  if (!segment || size > Segment::mostRanks)
    return refuse(invalidArgument, "stand-in: no such unique id");
  Segment::Member &mine = segment->member(rank);
  mine.ranks = size;
  mine.device = device;
  mine.host = hostHash();
  mine.process = getpid();
  if (mine.isHere.exchange(1))
    return refuse(invalidUsage, "stand-in: two ranks " + std::to_string(rank));
  for (int other = 0; other < size; ++other) {
    Segment::Member &theirs = segment->member(other);
    while (!theirs.isHere && !aborted)
      pauseUs(50);
    if (aborted)
      return internalError;
    if (theirs.ranks != size)
      return refuse(invalidArgument, "stand-in: the ranks disagree on how many "
                                     "there are");
  }
  Segment::forget(id);
  for (int other = 0; other < size; ++other) {
    Segment::Member &theirs = segment->member(other);
    if (other != rank && theirs.device == device && theirs.host == mine.host)
      return refuse(invalidUsage,
                    "Duplicate GPU detected : rank " + std::to_string(rank) +
                        " and rank " + std::to_string(other) +
                        " both on CUDA device " + std::to_string(device));
  }
  return success;
}

/// Whether work goes to a graph, which may run it any number of times.
static bool isCaptured(StreamHandle stream) {
  int status = 0;
  unsigned long long graph = 0;
  return stream &&
         Driver::get().streamGetCaptureInfo(stream, &status, &graph, nullptr,
                                            nullptr, nullptr) == 0 &&
         status != 0;
}

Result Comm::connect(const std::vector<Message> &messages) {
  static_assert(Segment::mostRanks <= 64, "a bit for each rank");
  auto bit = [](int other) { return uint64_t(1) << other; };
  auto mine = [&](const Message &message) {
    return message.peer != rank && fault.kind != Fault::HangConnect;
  };
  for (const Message &message : messages)
    if (mine(message))
      segment->member(rank).connects |= bit(message.peer);
  for (const Message &message : messages)
    while (message.peer != rank &&
           !(segment->member(message.peer).connects & bit(rank))) {
      if (aborted)
        return internalError;
      pauseUs(50);
    }
  return success;
}

Result Comm::enqueue(StreamHandle stream, Operation *operation) {
  operation->isCounted = !isCaptured(stream);
  if (operation->isCounted)
    ++numQueued;
  int code = Driver::get().launchHostFunction(
      stream, [](void *user) { static_cast<Operation *>(user)->run(); },
      operation);
  if (code == 0)
    return success;
  if (operation->isCounted)
    --numQueued;
  fail(unhandledCudaError, "stand-in: Cuda failure " + std::to_string(code));
  return unhandledCudaError;
}

Result Comm::launch(StreamHandle stream, std::vector<Message> messages) {
  auto operation = std::make_unique<Operation>();
  operation->comm = this;
  operation->messages = std::move(messages);
  bool isFaulty = numOperations++ >= fault.afterOperations;
  operation->breaks = isFaulty && fault.kind == Fault::Error;
  operation->neverEnds = isFaulty && fault.kind == Fault::Hang;
  Operation *it = operation.get();
  operations.push_back(std::move(operation));
  return later([this, stream, it] {
    Result connected = connect(it->messages);
    return connected == success ? enqueue(stream, it) : connected;
  });
}

/// All that is queued is done before it succeeds.
Result Comm::finalize() {
  return later([this] {
    while (numQueued && !aborted)
      pauseUs(100);
    return Result(success);
  });
}

void Comm::abort() {
  aborted = true;
  join();
  while (numRunning)
    pauseUs(50);
  Segment::forget(id);
}
