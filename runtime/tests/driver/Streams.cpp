//===- Streams.cpp - streams, captures and graphs of the stand-in ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StandIn.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

using namespace moe::standin;

namespace {
using Task = std::function<void()>;

enum CaptureMode : int { Global = 0, ThreadLocal = 1, Relaxed = 2 };

struct Capture {
  unsigned long long id;
  int mode;
  std::thread::id thread;
  bool isInvalid = false;
  std::vector<Task> tasks;
};

struct Stream {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Task> tasks; ///< the first one may be running
  uint64_t numAppended = 0, numDone = 0;
  bool isClosing = false, hasThread = false;
  std::unique_ptr<Capture> capture;
};

struct State {
  std::mutex mutex;
  std::map<StreamHandle, std::shared_ptr<Stream>> streams;
  unsigned long long captures = 0;
};
} // namespace

/// Never destroyed, since threads of streams may outlive statics.
static State &state() {
  static State *it = new State();
  return *it;
}

/// The mode in which this thread calls, and what its captures forbid.
static thread_local int callMode __attribute__((tls_model("initial-exec"))) =
    Global;

/// Null is the legacy stream.
static std::shared_ptr<Stream> find(StreamHandle handle) {
  State &s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto it = s.streams.find(handle);
  if (it != s.streams.end())
    return it->second;
  if (handle)
    return nullptr;
  return s.streams[nullptr] = std::make_shared<Stream>();
}

/// Whether a call that is not safe is one that this capture forbids.
static bool forbids(const Capture &capture) {
  if (callMode == Relaxed || capture.mode == Relaxed)
    return false;
  return capture.thread == std::this_thread::get_id() ||
         (callMode == Global && capture.mode == Global);
}

Result moe::standin::checkUnsafe() {
  if (Result r = checkContext())
    return r;
  State &s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  Result result = success;
  for (auto &[handle, stream] : s.streams) {
    std::lock_guard<std::mutex> streamLock(stream->mutex);
    if (!stream->capture || !forbids(*stream->capture))
      continue;
    stream->capture->isInvalid = true;
    result = errorCaptureUnsupported;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Streams
//===----------------------------------------------------------------------===//

static void work(const std::shared_ptr<Stream> &stream) {
  std::unique_lock<std::mutex> lock(stream->mutex);
  for (;;) {
    stream->changed.wait(
        lock, [&] { return stream->isClosing || !stream->tasks.empty(); });
    if (stream->tasks.empty())
      return;
    Task task = stream->tasks.front();
    lock.unlock();
    task();
    lock.lock();
    stream->tasks.pop_front();
    ++stream->numDone;
    stream->changed.notify_all();
  }
}

static Result append(const std::shared_ptr<Stream> &stream,
                     std::vector<Task> tasks) {
  if (!stream)
    return errorInvalidHandle;
  std::lock_guard<std::mutex> lock(stream->mutex);
  auto &target = stream->tasks;
  if (stream->capture) {
    auto &captured = stream->capture->tasks;
    captured.insert(captured.end(), tasks.begin(), tasks.end());
    return stream->capture->isInvalid ? errorCaptureInvalidated : success;
  }
  if (!stream->hasThread) {
    stream->hasThread = true;
    std::thread([stream] { work(stream); }).detach();
  }
  target.insert(target.end(), tasks.begin(), tasks.end());
  stream->numAppended += tasks.size();
  stream->changed.notify_all();
  return success;
}

Result moe::standin::enqueue(StreamHandle stream, Task task) {
  return append(find(stream), {std::move(task)});
}

Result moe::standin::runOrEnqueue(StreamHandle handle, Task task) {
  auto stream = find(handle);
  if (!stream)
    return errorInvalidHandle;
  {
    std::lock_guard<std::mutex> lock(stream->mutex);
    if (!stream->capture && stream->tasks.empty()) {
      task();
      return success;
    }
  }
  return append(stream, {std::move(task)});
}

bool moe::standin::isCapturing(StreamHandle handle) {
  auto stream = find(handle);
  if (!stream)
    return false;
  std::lock_guard<std::mutex> lock(stream->mutex);
  return stream->capture != nullptr;
}

Result moe::standin::drain(StreamHandle handle) {
  auto stream = find(handle);
  if (!stream)
    return errorInvalidHandle;
  std::unique_lock<std::mutex> lock(stream->mutex);
  // What is appended meanwhile is not waited for.
  uint64_t last = stream->numAppended;
  stream->changed.wait(lock, [&] { return stream->numDone >= last; });
  return isFaulted() ? Result(errorLaunchFailed) : Result(success);
}

Result cuStreamCreate(StreamHandle *out, unsigned) {
  if (Result r = checkContext())
    return r;
  auto stream = std::make_shared<Stream>();
  *out = reinterpret_cast<StreamHandle>(stream.get());
  State &s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.streams[*out] = std::move(stream);
  return success;
}

/// What is in the stream is still done.
Result cuStreamDestroy_v2(StreamHandle handle) {
  if (Result r = checkContext())
    return r;
  auto stream = find(handle);
  if (!handle || !stream)
    return errorInvalidHandle;
  {
    std::lock_guard<std::mutex> lock(stream->mutex);
    stream->isClosing = true;
    stream->changed.notify_all();
  }
  State &s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.streams.erase(handle);
  return success;
}

/// Finds a stream to ask or to wait for, which invalidates its capture, if it
/// has one.
static Result findToWaitFor(StreamHandle handle,
                            std::shared_ptr<Stream> &stream) {
  if (Result r = checkUnsafe())
    return r;
  stream = find(handle);
  if (!stream)
    return errorInvalidHandle;
  std::lock_guard<std::mutex> lock(stream->mutex);
  if (!stream->capture)
    return success;
  stream->capture->isInvalid = true;
  return errorCaptureUnsupported;
}

Result cuStreamQuery(StreamHandle handle) {
  std::shared_ptr<Stream> stream;
  if (Result r = findToWaitFor(handle, stream))
    return r;
  std::lock_guard<std::mutex> lock(stream->mutex);
  if (!stream->tasks.empty())
    return errorNotReady;
  return isFaulted() ? Result(errorLaunchFailed) : Result(success);
}

Result cuStreamSynchronize(StreamHandle handle) {
  std::shared_ptr<Stream> stream;
  if (Result r = findToWaitFor(handle, stream))
    return r;
  return drain(handle);
}

/// A capture in the context is not to be waited for.
Result cuCtxSynchronize() {
  if (Result r = checkUnsafe())
    return r;
  State &s = state();
  std::vector<StreamHandle> handles;
  {
    std::lock_guard<std::mutex> lock(s.mutex);
    for (auto &[handle, stream] : s.streams)
      handles.push_back(handle);
  }
  Result result = success;
  for (StreamHandle handle : handles)
    if (Result r = cuStreamSynchronize(handle); r != errorInvalidHandle)
      result = result == success ? r : result;
  return result;
}

//===----------------------------------------------------------------------===//
// Captures and graphs
//===----------------------------------------------------------------------===//

Result cuThreadExchangeStreamCaptureMode(int *mode) {
  if (*mode < Global || *mode > Relaxed)
    return errorInvalidValue;
  std::swap(*mode, callMode);
  return success;
}

Result cuStreamGetCaptureInfo_v2(StreamHandle handle, int *status,
                                 unsigned long long *id, GraphHandle *,
                                 const void **, size_t *) {
  if (Result r = checkContext())
    return r;
  auto stream = find(handle);
  if (!handle || !stream)
    return errorInvalidHandle;
  std::lock_guard<std::mutex> lock(stream->mutex);
  *status = !stream->capture ? 0 : stream->capture->isInvalid ? 2 : 1;
  if (stream->capture)
    *id = stream->capture->id;
  return success;
}

Result cuStreamBeginCapture_v2(StreamHandle handle, int mode) {
  if (Result r = checkContext())
    return r;
  auto stream = find(handle);
  if (!handle || !stream)
    return errorInvalidHandle;
  State &s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  std::lock_guard<std::mutex> streamLock(stream->mutex);
  if (stream->capture)
    return errorInvalidValue;
  stream->capture = std::make_unique<Capture>();
  stream->capture->id = ++s.captures;
  stream->capture->mode = mode;
  stream->capture->thread = std::this_thread::get_id();
  return success;
}

// A graph, and one that can be launched, are lists of tasks.
static std::vector<Task> *tasksOf(void *graph) {
  return static_cast<std::vector<Task> *>(graph);
}

Result cuStreamEndCapture(StreamHandle handle, GraphHandle *out) {
  *out = nullptr;
  if (Result r = checkContext())
    return r;
  auto stream = find(handle);
  if (!stream)
    return errorInvalidHandle;
  std::lock_guard<std::mutex> lock(stream->mutex);
  auto capture = std::move(stream->capture);
  if (!capture)
    return errorInvalidValue;
  if (capture->isInvalid)
    return errorCaptureInvalidated;
  *out = reinterpret_cast<GraphHandle>(
      new std::vector<Task>(std::move(capture->tasks)));
  return success;
}

Result cuGraphInstantiateWithFlags(GraphExecHandle *out, GraphHandle graph,
                                   unsigned long long) {
  if (Result r = checkContext())
    return r;
  *out =
      reinterpret_cast<GraphExecHandle>(new std::vector<Task>(*tasksOf(graph)));
  return success;
}

Result cuGraphLaunch(GraphExecHandle graph, StreamHandle stream) {
  if (Result r = checkContext())
    return r;
  return append(find(stream), *tasksOf(graph));
}

Result cuGraphExecDestroy(GraphExecHandle graph) {
  delete tasksOf(graph);
  return success;
}

Result cuGraphDestroy(GraphHandle graph) {
  delete tasksOf(graph);
  return success;
}
