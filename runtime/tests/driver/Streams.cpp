//===- Streams.cpp - streams, captures and graphs of the stand-in ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StandIn.h"

#include <algorithm>
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

/// A graph, or one that can be launched: a list of tasks, and what it owns.
struct Graph {
  std::vector<Task> tasks;
  std::vector<std::shared_ptr<void>> objects;
};

/// An object of the program's, and the references to it that no graph has.
struct UserObject {
  std::shared_ptr<void> object;
  unsigned numReferences;
};

struct Capture {
  unsigned long long id;
  int mode;
  std::thread::id thread;
  bool isInvalid = false;
  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
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
  /// Destroyed ones, which may have work yet.
  std::vector<std::shared_ptr<Stream>> closing;
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
    auto &captured = stream->capture->graph->tasks;
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

/// What is appended meanwhile is not waited for.
static Result waitFor(Stream &stream) {
  std::unique_lock<std::mutex> lock(stream.mutex);
  uint64_t last = stream.numAppended;
  stream.changed.wait(lock, [&] { return stream.numDone >= last; });
  return isFaulted() ? Result(errorLaunchFailed) : Result(success);
}

Result moe::standin::drain(StreamHandle handle) {
  auto stream = find(handle);
  return stream ? waitFor(*stream) : Result(errorInvalidHandle);
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

/// What is in the stream is still done, and is work of the context.
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
  s.closing.push_back(std::move(stream));
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
  std::vector<std::shared_ptr<Stream>> closing;
  {
    std::lock_guard<std::mutex> lock(s.mutex);
    closing = s.closing;
    for (auto &[handle, stream] : s.streams)
      handles.push_back(handle);
  }
  Result result = success;
  for (StreamHandle handle : handles)
    if (Result r = cuStreamSynchronize(handle); r != errorInvalidHandle)
      result = result == success ? r : result;
  for (const std::shared_ptr<Stream> &stream : closing)
    if (Result r = waitFor(*stream); result == success)
      result = r;
  std::lock_guard<std::mutex> lock(s.mutex);
  auto isDone = [&](const std::shared_ptr<Stream> &stream) {
    return std::find(closing.begin(), closing.end(), stream) != closing.end();
  };
  s.closing.erase(std::remove_if(s.closing.begin(), s.closing.end(), isDone),
                  s.closing.end());
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
                                 unsigned long long *id, GraphHandle *graph,
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
  if (stream->capture && graph)
    *graph = reinterpret_cast<GraphHandle>(stream->capture->graph.get());
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

static Graph *graphOf(void *handle) { return static_cast<Graph *>(handle); }

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
  *out = reinterpret_cast<GraphHandle>(capture->graph.release());
  return success;
}

/// As many nodes as tasks; it tells no more than their number.
Result cuGraphGetNodes(GraphHandle graph, void **nodes, size_t *count) {
  if (Result r = checkContext())
    return r;
  if (!graph || nodes || !count)
    return errorInvalidValue;
  *count = graphOf(graph)->tasks.size();
  return success;
}

Result cuGraphInstantiateWithFlags(GraphExecHandle *out, GraphHandle graph,
                                   unsigned long long) {
  if (Result r = checkContext())
    return r;
  *out = reinterpret_cast<GraphExecHandle>(new Graph(*graphOf(graph)));
  return success;
}

Result cuGraphLaunch(GraphExecHandle graph, StreamHandle stream) {
  if (Result r = checkContext())
    return r;
  std::vector<Task> tasks = graphOf(graph)->tasks;
  // A run has what the graph has, until it ends.
  if (!graphOf(graph)->objects.empty())
    tasks.push_back([objects = graphOf(graph)->objects] {});
  return append(find(stream), std::move(tasks));
}

Result cuGraphExecDestroy(GraphExecHandle graph) {
  delete graphOf(graph);
  return success;
}

Result cuGraphDestroy(GraphHandle graph) {
  delete graphOf(graph);
  return success;
}

//===----------------------------------------------------------------------===//
// Objects of graphs
//===----------------------------------------------------------------------===//

Result cuUserObjectCreate(UserObjectHandle *out, void *user,
                          void (*destroy)(void *), unsigned numReferences,
                          unsigned flags) {
  if (Result r = checkContext())
    return r;
  if (!destroy || !numReferences || flags != userObjectNoDestructorSync)
    return errorInvalidValue;
  *out = reinterpret_cast<UserObjectHandle>(
      new UserObject{std::shared_ptr<void>(user, destroy), numReferences});
  return success;
}

Result cuUserObjectRelease(UserObjectHandle handle, unsigned count) {
  auto *object = reinterpret_cast<UserObject *>(handle);
  if (count > object->numReferences)
    return errorInvalidValue;
  object->numReferences -= count;
  if (!object->numReferences)
    delete object;
  return success;
}

/// As long as a graph is a capture's, only its thread of the program uses it.
Result cuGraphRetainUserObject(GraphHandle graph, UserObjectHandle handle,
                               unsigned count, unsigned flags) {
  if (Result r = checkContext())
    return r;
  if (count != 1 || flags != graphUserObjectMove)
    return errorInvalidValue;
  auto *object = reinterpret_cast<UserObject *>(handle);
  graphOf(graph)->objects.push_back(object->object);
  return cuUserObjectRelease(handle, count);
}
