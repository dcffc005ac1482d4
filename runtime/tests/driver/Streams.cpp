//===- Streams.cpp - streams of the stand-in ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Streams.h"

#include <algorithm>
#include <map>

using namespace moe::standin;

namespace {
struct StreamState {
  std::mutex mutex;
  std::map<StreamHandle, std::shared_ptr<Stream>> streams;
  /// Destroyed ones, which may have work yet.
  std::vector<std::shared_ptr<Stream>> closing;
};
} // namespace

/// Never destroyed, since threads of streams may outlive statics.
static StreamState &streamState() {
  static StreamState *it = new StreamState();
  return *it;
}

std::shared_ptr<Stream> moe::standin::find(StreamHandle handle) {
  StreamState &s = streamState();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto it = s.streams.find(handle);
  if (it != s.streams.end())
    return it->second;
  if (handle)
    return nullptr;
  return s.streams[nullptr] = std::make_shared<Stream>();
}

Result moe::standin::checkUnsafe() {
  if (Result r = checkContext())
    return r;
  StreamState &s = streamState();
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

Result moe::standin::append(const std::shared_ptr<Stream> &stream,
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
  StreamState &s = streamState();
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
  StreamState &s = streamState();
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
  StreamState &s = streamState();
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
