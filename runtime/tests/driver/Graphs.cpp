//===- Graphs.cpp - captures and graphs of the stand-in -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Streams.h"

#include <atomic>
#include <utility>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Captures
//===----------------------------------------------------------------------===//

namespace {
enum CaptureMode : int { Global = 0, ThreadLocal = 1, Relaxed = 2 };
} // namespace

/// The mode in which this thread calls, and what its captures forbid.
static thread_local int callMode __attribute__((tls_model("initial-exec"))) =
    Global;

bool moe::standin::forbids(const Capture &capture) {
  if (callMode == Relaxed || capture.mode == Relaxed)
    return false;
  return capture.thread == std::this_thread::get_id() ||
         (callMode == Global && capture.mode == Global);
}

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
  static std::atomic<unsigned long long> lastId{0};
  std::lock_guard<std::mutex> lock(stream->mutex);
  if (stream->capture)
    return errorInvalidValue;
  stream->capture = std::make_unique<Capture>();
  stream->capture->id = ++lastId;
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

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

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

namespace {
/// An object of the program's, and the references to it that no graph has.
struct UserObject {
  std::shared_ptr<void> object;
  unsigned numReferences;
};
} // namespace

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
