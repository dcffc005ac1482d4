//===- StandIn.h - an NCCL without GPUs -------------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A libnccl.so.2 for tests on machines without a GPU, as far as the runtime
/// uses one, on top of the stand-in driver (../driver). Ranks are threads or
/// processes of one machine; messages go through shared memory, in the order of
/// the streams.
///
/// As with NCCL, ranks connect when the first of them sends to the other one,
/// in a call that waits for both. It is strict where NCCL on a good day is not:
/// buffers have to be memory of a
/// device, a communicator that does not block may not be used before its last
/// call has been carried out, and messages that do not fit are an asynchronous
/// error. Two ranks of one host may not share a GPU; NCCL_HOSTID names the
/// host.
///
/// Environment:
///   MOE_STANDIN_NCCL_VERSION  22809 by default
///   MOE_STANDIN_NCCL_FAULT    KIND@RANK or KIND@RANK:N, with one of these
///   kinds
///                               fail-init  making a communicator fails
///                               hang-init  the rank never comes to that
///                               hang-connect  it connects to no other rank
///                               error      after N operations, the connection
///                                          is lost
///                               hang       after N operations, the next one
///                                          never ends
///                             each for the first communicator of the rank
///                             alone, unless N is followed by "+"
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_NCCL_STANDIN_H
#define MOE_RUNTIME_TESTS_NCCL_STANDIN_H

#include "NCCL/Library.h"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace moe::standin {

using namespace moe::rt::nccl;

/// Functions of the stand-in driver, which the loader finds.
struct Driver {
  static const Driver &get();
  int (*ctxGetDevice)(int *);
  int (*primaryCtxRetain)(void **, int);
  int (*ctxPushCurrent)(void *);
  int (*ctxPopCurrent)(void **);
  int (*launchHostFunction)(StreamHandle, void (*)(void *), void *);
  int (*pointerGetAttribute)(void *, int, unsigned long long);
  int (*streamGetCaptureInfo)(StreamHandle, int *, unsigned long long *,
                              void **, const void **, size_t *);
};

/// Memory that the ranks of a communicator share.
class Segment {
public:
  static constexpr int mostRanks = 64;
  static constexpr size_t ringBytes = size_t(1) << 16;

  /// Bytes from one rank to another.
  struct Ring {
    alignas(64) std::atomic<uint64_t> numWritten;
    alignas(64) std::atomic<uint64_t> numRead;
    alignas(64) char bytes[ringBytes];
  };
  struct Member {
    std::atomic<uint32_t> isHere;
    std::atomic<uint64_t> connects; ///< a bit for each rank
    int32_t ranks, device;
    uint64_t host;
    std::atomic<int32_t> process;
  };

  /// Makes the memory and an id by which other processes find it.
  static Result make(UniqueId &id);
  static std::unique_ptr<Segment> open(const UniqueId &id);
  /// The id is of no more use, since all ranks have opened it.
  static void forget(const UniqueId &id);
  ~Segment();

  Member &member(int rank);
  Ring &ring(int from, int to);

private:
  explicit Segment(void *memory) : memory(memory) {}
  void *memory;
};

/// A send or a receive.
struct Message {
  bool isSend;
  bool isGather; ///< of an all-gather
  int peer;
  char *data;
  size_t bytes;
};

struct Fault {
  enum Kind { None, FailInit, HangInit, HangConnect, Error, Hang } kind = None;
  int afterOperations = 0;
};

class Comm;

/// What one group of calls does, on a stream.
struct Operation {
  Comm *comm;
  std::vector<Message> messages;
  bool neverEnds = false;
  bool breaks = false;    ///< the connection is lost
  bool isCounted = false; ///< it runs once
  void run();

private:
  void move();
};

class Comm {
public:
  Comm(const UniqueId &id, int rank, int size, int device, bool isBlocking,
       Fault fault);

  /// Makes one of the same ranks with the same connections, and writes where it
  /// is once that is done.
  Result split(CommHandle *out, bool isBlocking);

  /// Meets the other ranks; where calls do not block, in a thread.
  Result initialize();
  Result launch(StreamHandle stream, std::vector<Message> messages);
  Result finalize();
  /// Ends all that is under way.
  void abort();
  /// Waits for the thread that carries out the last call.
  void join();

  /// Success when a call is allowed now.
  Result checkReady() const;
  Result state() const { return currentState; }
  /// The state, for the program: a call that it sees in progress may end.
  Result ask();
  void fail(Result result, const std::string &text);
  bool isAborted() const { return aborted; }
  std::string lastError();

  Segment &shared() { return *segment; }
  const int rank, size, device;

private:
  friend struct Operation;
  Result meet();
  Result connect(const std::vector<Message> &messages);
  Result enqueue(StreamHandle stream, Operation *operation);
  Result later(std::function<Result()> work);

  const UniqueId id;
  const bool isBlocking;
  Fault fault;
  std::shared_ptr<Segment> segment;
  std::atomic<Result> currentState{success};
  std::atomic<bool> aborted{false};
  std::atomic<bool> wasAsked{false};            ///< since the last call began
  std::atomic<int> numQueued{0}, numRunning{0}; ///< operations on streams
  int numOperations = 0;
  std::thread worker;
  std::mutex mutex; ///< of the text
  std::string errorText;
  /// Graphs run them again and again.
  std::vector<std::unique_ptr<Operation>> operations;
};

/// What the environment asks of the rank's next communicator.
Fault takeFault(int rank);

/// The communicator of a handle; null for one that is not known.
Comm *find(CommHandle handle);
CommHandle add(std::unique_ptr<Comm> comm);
/// The handle is of no more use. The object stays, since streams may have work
/// that refers to it.
void retire(CommHandle handle);

/// Marks the host of this process.
uint64_t hostHash();

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_NCCL_STANDIN_H
