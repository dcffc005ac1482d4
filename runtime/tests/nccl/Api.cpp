//===- Api.cpp - the functions of NCCL, as the stand-in has them ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StandIn.h"

#include <cstdlib>
#include <utility>

using namespace moe::standin;
using namespace moe::rt::nccl;

// With the types that the runtime calls.
#pragma GCC visibility push(default)
#define STANDIN_DECLARE(name, symbol, ...)                                     \
  extern "C" std::enable_if_t<true, __VA_ARGS__> symbol;
MOERT_NCCL_FUNCTIONS(STANDIN_DECLARE)
MOERT_NCCL_LATER_FUNCTIONS(STANDIN_DECLARE)
extern "C" Result ncclGetVersion(int *version);
// What programs call that bring a communicator along.
extern "C" Result ncclCommInitRank(CommHandle *out, int size, UniqueId id,
                                   int rank);
#undef STANDIN_DECLARE
#pragma GCC visibility pop

//===----------------------------------------------------------------------===//
// Version and errors
//===----------------------------------------------------------------------===//

Result ncclGetVersion(int *version) {
  const char *text = std::getenv("MOE_STANDIN_NCCL_VERSION");
  *version = text && *text ? std::atoi(text) : 22809;
  return success;
}

const char *ncclGetErrorString(Result result) {
  switch (result) {
  case success:
    return "no error";
  case unhandledCudaError:
    return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
  case systemError:
    return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
  case internalError:
    return "internal error";
  case invalidArgument:
    return "invalid argument (run with NCCL_DEBUG=WARN for details)";
  case invalidUsage:
    return "invalid usage (run with NCCL_DEBUG=WARN for details)";
  case remoteError:
    return "remote process exited or there was a network error";
  case inProgress:
    return "NCCL operation in progress";
  default:
    return "unknown result code";
  }
}

const char *ncclGetLastError(CommHandle handle) {
  static thread_local std::string text;
  Comm *comm = find(handle);
  text = comm ? comm->lastError() : "";
  return text.c_str();
}

Result ncclCommGetAsyncError(CommHandle handle, Result *out) {
  Comm *comm = find(handle);
  if (!comm)
    return invalidArgument;
  *out = comm->ask();
  return success;
}

//===----------------------------------------------------------------------===//
// Communicators
//===----------------------------------------------------------------------===//

Result ncclGetUniqueId(UniqueId *id) { return Segment::make(*id); }

static Result initialize(CommHandle *out, int size, const UniqueId &id,
                         int rank, bool isBlocking) {
  *out = nullptr;
  int device = 0;
  if (Driver::get().ctxGetDevice(&device) != 0)
    return unhandledCudaError;
  if (size < 1 || rank < 0 || rank >= size)
    return invalidArgument;
  auto comm = std::make_unique<Comm>(id, rank, size, device, isBlocking,
                                     takeFault(rank));
  Comm &made = *comm;
  *out = add(std::move(comm));
  return made.initialize();
}

/// Whether the fields that the caller's version has are ones that NCCL takes.
static bool isValid(const Config *config) {
  constexpr size_t oldest = offsetof(Config, blocking) + sizeof(int);
  return config && config->size >= oldest && config->magic == 0xcafebeef &&
         (config->blocking == INT_MIN || (config->blocking | 1) == 1);
}

Result ncclCommInitRankConfig(CommHandle *out, int size, UniqueId id, int rank,
                              Config *config) {
  if (!isValid(config))
    return invalidArgument;
  return initialize(out, size, id, rank, config->blocking != 0);
}

Result ncclCommSplit(CommHandle handle, int color, int, CommHandle *out,
                     Config *config) {
  Comm *comm = find(handle);
  // All ranks stay together, in their order.
  if (!comm || color != 0 || !isValid(config))
    return invalidArgument;
  Result ready = comm->checkReady();
  if (ready != success)
    return ready;
  // As NCCL does, also while it is in progress.
  Result begun = comm->split(out, config->blocking != 0);
  return begun == inProgress ? Result(success) : begun;
}

Result ncclCommInitRank(CommHandle *out, int size, UniqueId id, int rank) {
  return initialize(out, size, id, rank, /*isBlocking=*/true);
}

Result ncclCommFinalize(CommHandle handle) {
  Comm *comm = find(handle);
  if (!comm)
    return invalidArgument;
  Result ready = comm->checkReady();
  return ready == success ? comm->finalize() : ready;
}

Result ncclCommDestroy(CommHandle handle) {
  Comm *comm = find(handle);
  if (!comm)
    return invalidArgument;
  comm->join();
  retire(handle);
  return success;
}

Result ncclCommAbort(CommHandle handle) {
  Comm *comm = find(handle);
  if (!comm)
    return invalidArgument;
  comm->abort();
  retire(handle);
  return success;
}

template <typename Value>
static Result ask(CommHandle handle, int *out, Value value) {
  Comm *comm = find(handle);
  if (!comm)
    return invalidArgument;
  *out = value(*comm);
  return success;
}

Result ncclCommCount(CommHandle handle, int *out) {
  return ask(handle, out, [](const Comm &comm) { return comm.size; });
}

Result ncclCommCuDevice(CommHandle handle, int *out) {
  return ask(handle, out, [](const Comm &comm) { return comm.device; });
}

Result ncclCommUserRank(CommHandle handle, int *out) {
  return ask(handle, out, [](const Comm &comm) { return comm.rank; });
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

namespace {
/// The calls of a thread between ncclGroupStart and ncclGroupEnd.
struct Group {
  int depth = 0;
  Comm *comm = nullptr;
  StreamHandle stream = nullptr;
  std::vector<Message> messages;
  Result first = success;
};
} // namespace

static thread_local Group group;

Result ncclGroupStart() {
  ++group.depth;
  return success;
}

Result ncclGroupEnd() {
  if (group.depth == 0)
    return invalidUsage;
  if (--group.depth)
    return success;
  Group whole = std::exchange(group, {});
  if (whole.first != success || !whole.comm)
    return whole.first;
  return whole.comm->launch(whole.stream, std::move(whole.messages));
}

/// Whether all of the buffer is memory of a device.
static bool isOnDevice(const char *data, size_t bytes) {
  constexpr int memoryType = 2, isDevice = 2;
  for (const char *at : {data, data + bytes - 1}) {
    int type = 0;
    if (Driver::get().pointerGetAttribute(
            &type, memoryType, reinterpret_cast<unsigned long long>(at)) != 0 ||
        type != isDevice)
      return false;
  }
  return true;
}

static Result check(Comm *comm, const Message &message, StreamHandle stream) {
  if (!comm)
    return invalidArgument;
  if (Result ready = comm->checkReady())
    return ready;
  if (message.peer < 0 || message.peer >= comm->size)
    return invalidArgument;
  if (message.bytes && !isOnDevice(message.data, message.bytes)) {
    comm->fail(invalidArgument, "stand-in: a buffer is not memory of a device");
    return invalidArgument;
  }
  // NCCL allows several, but the runtime has no use for that.
  bool isOther = group.comm && (group.comm != comm || group.stream != stream);
  return isOther ? invalidUsage : success;
}

static Result append(CommHandle handle, StreamHandle stream, bool isSend,
                     bool isGather, int peer, const void *data, size_t bytes) {
  Comm *comm = find(handle);
  Message message{isSend, isGather, peer,
                  const_cast<char *>(static_cast<const char *>(data)), bytes};
  if (Result wrong = check(comm, message, stream)) {
    group.first = group.first == success ? wrong : group.first;
    return wrong;
  }
  group.comm = comm;
  group.stream = stream;
  group.messages.push_back(message);
  return success;
}

#ifndef STANDIN_WITHOUT_SEND
Result ncclSend(const void *data, size_t count, int type, int peer,
                CommHandle handle, StreamHandle stream) {
  if (type != typeInt8)
    return invalidArgument;
  ncclGroupStart();
  Result wrong = append(handle, stream, true, false, peer, data, count);
  Result ended = ncclGroupEnd();
  return wrong ? wrong : ended;
}
#endif

Result ncclRecv(void *data, size_t count, int type, int peer, CommHandle handle,
                StreamHandle stream) {
  if (type != typeInt8)
    return invalidArgument;
  ncclGroupStart();
  Result wrong = append(handle, stream, false, false, peer, data, count);
  Result ended = ncclGroupEnd();
  return wrong ? wrong : ended;
}

Result ncclAllGather(const void *send, void *recv, size_t count, int type,
                     CommHandle handle, StreamHandle stream) {
  Comm *comm = find(handle);
  if (!comm || type != typeInt8)
    return invalidArgument;
  ncclGroupStart();
  Result wrong = success;
  for (int peer = 0; peer < comm->size && !wrong; ++peer) {
    wrong = append(handle, stream, true, true, peer, send, count);
    if (!wrong)
      wrong = append(handle, stream, false, true, peer,
                     static_cast<char *>(recv) + count * size_t(peer), count);
  }
  Result ended = ncclGroupEnd();
  return wrong ? wrong : ended;
}
