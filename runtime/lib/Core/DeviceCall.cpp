//===- DeviceCall.cpp - calls whose work is done by a device --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CallFrame.h"
#include "DeviceRecord.h"
#include "MessageCalls.h"
#include "PeerWait.h"
#include "moe-runtime/Context.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <thread>

using namespace moe::rt;

static constexpr int64_t msNs = 1000000;
static constexpr int64_t secondNs = 1000 * msNs;
/// How long a stream is polled without a pause. Longer than a dispatch counts
/// and packs its rows, for which a read waits: the pauses after that are as
/// long as several launches. Ranks that share processors let one another run
/// earlier.
static int64_t spinNs(int ranks) {
  int processors = static_cast<int>(std::thread::hardware_concurrency());
  return ranks > processors ? msNs / 10 : msNs;
}
/// How often the group is looked at meanwhile.
static constexpr int64_t watchNs = msNs / 2;
/// What a rank has put may be on its way when its process ends.
static constexpr int64_t deathGraceNs = 200 * msNs;

static void pauseNs(int64_t ns) {
  timespec time{0, static_cast<long>(ns)};
  nanosleep(&time, nullptr);
}

//===----------------------------------------------------------------------===//
// Calls and streams
//===----------------------------------------------------------------------===//

Status Context::launch(Entry &entry,
                       const std::vector<const DLTensor *> &inputs,
                       std::vector<DLManagedTensor *> &outputs, void *stream) {
  // The host backend refuses a stream.
  bool isOwn = !backend->isAsynchronous();
  return run(entry, inputs, {&outputs, nullptr}, StreamRef{isOwn, stream});
}

Status Context::launchInto(Entry &entry,
                           const std::vector<const DLTensor *> &inputs,
                           const std::vector<const DLTensor *> &outputs,
                           void *stream) {
  bool isOwn = !backend->isAsynchronous();
  return run(entry, inputs, {nullptr, &outputs}, StreamRef{isOwn, stream});
}

/// The host's part of a call is over. On the backend's own stream the call
/// ends when its work does.
Status Context::finishCall(const StreamRef &stream, const Status &status) {
  if (!backend->isAsynchronous() || (status.isOk() && !stream.isOwn))
    return status;
  Status result = status;
  // The others have been told, so waits of this rank may be in vain.
  if (!status.isOk() && running->artifact->manifest().ranks != 0)
    stopAllKernels();
  if (stream.isOwn) {
    Status waited = waitForStream(stream, status);
    result = status.isOk() ? prefixed(waited) : status;
  }
  return result;
}

/// A reason not to wait for kernels any more, as the group shows it. A rank
/// that has left in good order may have done its part, and is not one; nor is
/// it when its process ends after that.
Status Context::whyStop(int64_t &goneSince) const {
  if (Status s = group->checkGroup(); !s.isOk())
    return s;
  if (Status s = checkLabels(); !s.isOk())
    return s;
  if (Status s = transportError(); !s.isOk()) {
    Status reason = awaitNews();
    return reason.isOk() ? s.withPrefix(group->here() + ": waiting for the GPU")
                         : reason;
  }
  for (int peer = 0; peer < size(); ++peer) {
    Status status = group->checkProcess(peer);
    if (status.isOk() || group->hasLeft(peer))
      continue;
    if (goneSince < 0)
      goneSince = nowNs();
    if (nowNs() - goneSince > deathGraceNs)
      return status.withPrefix(group->here() + ": waiting for the GPU");
  }
  return Status::ok();
}

void Context::stopAllKernels() {
  for (const std::unique_ptr<Artifact> &artifact : artifacts)
    if (artifact->program)
      stopKernels(artifact->program->record());
  // Kernels of a transport wait for ranks as well.
  if (messages)
    messages->exchanger->stop();
}

/// Something is still running and will not end, or the device has failed. Its
/// memory stays as it is.
void Context::abandonDevice(const Status &reason) {
  lost = reason;
  backend->abandon();
  for (const std::unique_ptr<Artifact> &artifact : artifacts)
    (void)artifact->program.release();
}

/// Work of a transport that has not finished mostly waits for a rank that is
/// not in this rank's collective.
Status Context::timeOutOfStream(double seconds) const {
  for (int peer = 0; messages && inCollective && peer < size(); ++peer)
    if (peer != rank() && !group->isInSameCollective(peer))
      return PeerWait(*group, nullptr, seconds)
          .timeOut(peer, "the GPU waits for its message");
  return makeError(MOERT_TIMEOUT, "%s: the GPU has not finished after %g s",
                   group->here().c_str(), seconds);
}

/// `known` is an error for which kernels have been stopped already.
Status Context::waitForStream(const StreamRef &stream, const Status &known) {
  Status reason = known;
  int64_t nextLook = nowNs() + spinNs(size()), goneSince = -1;
  // Waits in kernels end by themselves before this.
  int64_t stopNs = timeoutNs() + 5 * secondNs;
  int64_t deadline = known.isOk() ? 2 * timeoutNs() + secondNs : stopNs;
  WaitClock clock;
  for (;;) {
    auto done = backend->isDone(stream);
    if (!done.isOk()) {
      abandonDevice(done.status());
      return done.status();
    }
    if (*done) {
      if (messages)
        messages->exchanger->finished(stream);
      break;
    }
    int64_t now = nowNs();
    if (now < nextLook)
      continue;
    nextLook = now + watchNs;
    int64_t waited = clock.elapsedNs(now);
    if (reason.isOk()) {
      reason = whyStop(goneSince);
      if (reason.isOk() && waited > deadline)
        reason = timeOutOfStream(double(waited) / double(secondNs));
      if (!reason.isOk()) {
        // Those of all artifacts, though this entry may not communicate: no
        // collective is to begin with records that stop its kernels.
        reason = prefixed(placed(reason));
        group->raise(reason);
        stopAllKernels();
        deadline = waited + stopNs;
      }
    } else if (waited > deadline) {
      Status stuck =
          reason.withMessage(reason.message() + "; a kernel did not stop");
      abandonDevice(stuck);
      return stuck;
    }
    pauseNs(20000);
    nextLook = std::min(nextLook, nowNs());
  }
  Status recorded = deviceError();
  if (messages && messages->labels)
    messages->labels->finished(stream);
  // Which of the two was first is what the group's error says.
  return recorded.isOk() || !known.isOk() ? reason : recorded;
}

Status Context::refuseIfLost() const {
  if (lost.isOk())
    return Status::ok();
  return prefixed(
      lost.withMessage("the device was given up: " + lost.message()));
}

Status Context::synchronize(void *stream) {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  if (!backend->isAsynchronous())
    return check();
  if (Status s = refuseIfLost(); !s.isOk())
    return s;
  // A stream that is being captured, say. Where the device has failed, its own
  // stream has as well.
  if (auto done = backend->isDone({false, stream});
      !done.isOk() && backend->isDone(StreamRef{}).isOk())
    return prefixed(Status(MOERT_INVALID_ARGUMENT, done.status().message()));
  Status status = prefixed(waitForStream({false, stream}, Status::ok()));
  if (status.isOk())
    return check();
  group->raise(status);
  return status;
}

Status Context::check() {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  Status error = prefixed(deviceError());
  if (error.isOk())
    error = prefixed(transportError());
  if (!error.isOk()) {
    group->raise(error);
    return error;
  }
  return group->groupError();
}

/// The error that a kernel of this rank has recorded; or that it has messages
/// of another collective, which explains whatever a kernel makes of them.
Status Context::deviceError() {
  if (Status s = checkLabels(); !s.isOk())
    return s;
  for (const std::unique_ptr<Artifact> &artifact : artifacts) {
    if (!artifact->program)
      continue;
    const moert_device_record *record = artifact->program->record();
    moert_code code = recordedCode(record);
    if (code == MOERT_OK)
      continue;
    if (!isRecordReady(record)) {
      // The host stopped the kernels, or one is just recording its error.
      if (Status s = group->groupError(); !s.isOk())
        return s;
      continue;
    }
    int peer = record->peer;
    bool isPeer = peer >= 0 && peer < size();
    // A rank that saw another one fail tells less than that rank will.
    for (int i = 0; code == MOERT_PEER_FAILED && isPeer && i < 1000; ++i) {
      if (Status s = group->groupError(); !s.isOk())
        return s;
      pauseNs(msNs);
    }
    std::string seen;
    if (isPeer)
      seen = format("rank %d was last seen %s", peer,
                    group->lastSeen(peer).c_str());
    Status status = describeRecord(*record, artifact->manifest(),
                                   options.timeoutSeconds, seen);
    if (code == MOERT_TIMEOUT && isPeer)
      if (Status s = group->checkAlive(peer); !s.isOk())
        return status.withCode(s.code()).withMessage(status.message() + ": " +
                                                     s.message());
    return prefixed(status);
  }
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// What generated code asks for
//===----------------------------------------------------------------------===//

static Status noProgram() {
  return Status(MOERT_INTERNAL, "a kernel is launched on a backend without");
}

bool Context::launchKernel(const KernelLaunch &launch) {
  Program *program = running->artifact->program.get();
  Status status = program ? backend->launch(*program, launch) : noProgram();
  return status.isOk() || stop(status.withPrefix(here()));
}

bool Context::copy(void *to, const void *from, int64_t bytes) {
  Status status =
      backend->copy(to, from, static_cast<size_t>(std::max<int64_t>(bytes, 0)));
  return status.isOk() || stop(status.withPrefix(here()));
}

bool Context::read(void *to, const void *from, int64_t bytes) {
  auto *out = static_cast<char *>(to);
  auto *in = static_cast<const char *>(from);
  while (bytes > 0) {
    size_t part = static_cast<size_t>(bytes);
    auto staged = backend->startRead(in, part);
    if (!staged.isOk())
      return stop(staged.status().withPrefix(here()));
    if (Status s = waitForStream(runningOn, Status::ok()); !s.isOk())
      return stop(s);
    std::memcpy(out, *staged, part);
    out += part;
    in += part;
    bytes -= static_cast<int64_t>(part);
  }
  return true;
}

moert_device_record *Context::deviceRecord() {
  Program *program = running->artifact->program.get();
  return program ? program->deviceRecord() : nullptr;
}

//===----------------------------------------------------------------------===//
// Copies from outside
//===----------------------------------------------------------------------===//

static Expected<size_t> tensorBytes(const DLTensor &tensor) {
  std::optional<int64_t> count = countElements(tensor.shape, tensor.ndim);
  size_t elementBytes =
      (size_t(tensor.dtype.bits) * tensor.dtype.lanes + 7) / 8;
  if (!count)
    return Status(MOERT_INVALID_ARGUMENT, "the tensor's shape is too large");
  return size_t(*count) * elementBytes;
}

static Status checkCopy(const DLTensor &tensor, size_t bytes) {
  auto size = tensorBytes(tensor);
  if (!size.isOk())
    return size.status();
  if (*size != bytes)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "the tensor has %zu bytes, but %zu are to be copied",
                     *size, bytes);
  return Status::ok();
}

Status Context::copyToHost(const DLTensor &source, void *to, size_t bytes) {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  if (Status s = checkCopy(source, bytes); !s.isOk())
    return prefixed(s);
  if (bytes == 0)
    return Status::ok();
  bool isHost = source.device.device_type == kDLCPU ||
                source.device.device_type == kDLCUDAHost;
  if (isHost) {
    size_t elementBytes =
        (size_t(source.dtype.bits) * source.dtype.lanes + 7) / 8;
    packTensor(source, elementBytes, static_cast<char *>(to));
    return Status::ok();
  }
  if (source.device.device_type != backend->device().device_type)
    return prefixed(Status(MOERT_INVALID_ARGUMENT,
                           "the tensor is not on the context's device"));
  const char *from =
      static_cast<const char *>(source.data) + source.byte_offset;
  if (isDense(source))
    return prefixed(backend->copyOut(to, from, bytes));
  // From the first element to the last, and then as host memory.
  size_t elementBytes =
      (size_t(source.dtype.bits) * source.dtype.lanes + 7) / 8;
  int64_t low = 0, high = 0;
  for (int i = 0; i < source.ndim; ++i) {
    int64_t reach = (source.shape[i] - 1) * source.strides[i];
    (reach < 0 ? low : high) += reach;
  }
  std::vector<char> span((high - low + 1) * elementBytes);
  if (Status s = backend->copyOut(
          span.data(), from + low * int64_t(elementBytes), span.size());
      !s.isOk())
    return prefixed(s);
  DLTensor view = source;
  view.data = span.data() - low * int64_t(elementBytes);
  view.byte_offset = 0;
  packTensor(view, elementBytes, static_cast<char *>(to));
  return Status::ok();
}

Status Context::copyFromHost(const DLTensor &destination, const void *from,
                             size_t bytes) {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  if (Status s = checkCopy(destination, bytes); !s.isOk())
    return prefixed(s);
  if (!isDense(destination))
    return prefixed(Status(MOERT_INVALID_ARGUMENT, "the tensor is not dense"));
  if (bytes == 0)
    return Status::ok();
  char *to = static_cast<char *>(destination.data) + destination.byte_offset;
  if (destination.device.device_type == kDLCPU ||
      destination.device.device_type == kDLCUDAHost) {
    std::memcpy(to, from, bytes);
    return Status::ok();
  }
  if (destination.device.device_type != backend->device().device_type)
    return prefixed(Status(MOERT_INVALID_ARGUMENT,
                           "the tensor is not on the context's device"));
  return prefixed(backend->copyIn(to, from, bytes));
}
