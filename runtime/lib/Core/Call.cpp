//===- Call.cpp - calling an entry ----------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CallFrame.h"
#include "FailedCheck.h"
#include "MessageCalls.h"
#include "PeerWait.h"
#include "moe-runtime/Context.h"

#include <new>
#include <utility>

using namespace moe::rt;

static thread_local Context *currentContext = nullptr;

Context *Context::current() { return currentContext; }

Status Context::call(Entry &entry, const std::vector<const DLTensor *> &inputs,
                     std::vector<DLManagedTensor *> &outputs) {
  return run(entry, inputs, {&outputs, nullptr}, StreamRef{});
}

Status Context::callInto(Entry &entry,
                         const std::vector<const DLTensor *> &inputs,
                         const std::vector<const DLTensor *> &outputs) {
  return run(entry, inputs, {nullptr, &outputs}, StreamRef{});
}

namespace {
/// Does something at the end of a scope, also when an exception ends it.
template <typename Function> class AtEnd {
public:
  explicit AtEnd(Function function) : function(std::move(function)) {}
  ~AtEnd() { function(); }
  AtEnd(const AtEnd &) = delete;

private:
  Function function;
};
} // namespace

/// What `function` returns; of memory that it does not get, a status.
template <typename Function> static Status withoutException(Function function) {
  try {
    return function();
  } catch (const std::bad_alloc &) {
    return Status(MOERT_OUT_OF_MEMORY, "out of memory");
  }
}

Status Context::run(Entry &entry, const std::vector<const DLTensor *> &inputs,
                    const CallOutputs &outputs, const StreamRef &stream) {
  if (Status s = refuseIfForked(); !s.isOk())
    return s;
  if (busy.exchange(true))
    return prefixed(Status(MOERT_INVALID_ARGUMENT,
                           "another call is running on this context"));
  AtEnd end([&] {
    arena->endCall();
    if (hostArena != arena)
      hostArena->endCall();
    busy = false;
  });
  return callGuarded(entry, inputs, outputs, stream);
}

/// Publishes the call; the first one of an entry also meets the other ranks.
/// `arguments` is what has to be equal on all ranks besides.
Status Context::enterCall(Entry &entry, const std::string &arguments,
                          const Status &local) {
  GroupOp op{GroupOp::Call, entry.callHash, entry.callText, local};
  if (!arguments.empty()) {
    op.hash = hashText(arguments, op.hash);
    op.text += arguments;
  }
  if (!entry.verified) {
    Status status = runGroupOp(op);
    entry.verified = status.isOk();
    return status;
  }
  group->beginGroupOp(op);
  Status status = local;
  if (!status.isOk())
    group->raise(status);
  return status;
}

Status Context::callGuarded(Entry &entry,
                            const std::vector<const DLTensor *> &inputs,
                            const CallOutputs &outputs,
                            const StreamRef &stream) {
  if (outputs.made)
    outputs.made->clear();
  bool communicates = entry.artifact->manifest().ranks != 0;
  if (Status s = deviceError(); !s.isOk())
    group->raise(s);
  if (communicates)
    if (Status s = refuseIfFailed(); !s.isOk())
      return s;
  CallFrame frame(*entry.description,
                  {*backend, arena, hostArena, *symmHeap,
                   entry.artifact->symmetricResults, stream.isOwn});
  Status status = backend->beginCall(stream);
  bool hasBegun = status.isOk();
  AtEnd end([&] {
    if (hasBegun)
      backend->endCall();
    if (communicates)
      group->endGroupOp();
  });
  if (hasBegun)
    status = withoutException([&] {
      Status set = frame.setInputs(inputs);
      return set.isOk() && outputs.given ? frame.setOutputs(*outputs.given)
                                         : set;
    });
  status = prefixed(status);
  if (communicates)
    status = enterCall(entry, frame.symmetricText(), status);
  if (status.isOk()) {
    status = runEntry(entry, frame, outputs, stream);
    if (communicates && !status.isOk())
      group->raise(status);
  } else if (hasBegun && stream.isOwn && backend->isAsynchronous()) {
    // Inputs may be on their way into memory that is given back next.
    (void)waitForStream(stream, status);
  }
  return status;
}

/// The part of a call that runs generated code.
Status Context::runEntry(Entry &entry, CallFrame &frame,
                         const CallOutputs &outputs, const StreamRef &stream) {
  running = &entry;
  runningFrame = &frame;
  runningOn = stream;
  inCollective = false;
  callStatus = Status::ok();
  currentContext = this;
  times.beginCall();
  bool returned = invoke(entry, frame.args());
  currentContext = nullptr;
  if (returned && entry.artifact->manifest().ranks != 0)
    group->endCollectives(/*isQueued=*/backend->isAsynchronous());
  Status status = callStatus;
  if (returned)
    status = prefixed(withoutException([&] {
      return outputs.given ? frame.storeResults()
                           : frame.takeResults(*outputs.made);
    }));
  status = finishCall(stream, status);
  if (!status.isOk() && outputs.made)
    deleteTensors(*outputs.made);
  times.endCall();
  running = nullptr;
  runningFrame = nullptr;
  return status;
}

/// The only frame that longjmp returns to. Nothing here, or between here and
/// the functions below, has a destructor while generated code runs.
bool Context::invoke(Entry &entry, void **args) {
  if (_setjmp(callExit) != 0)
    return false;
  backend->invoke(entry.function, args);
  return true;
}

//===----------------------------------------------------------------------===//
// What generated code asks for
//===----------------------------------------------------------------------===//

/// Ends the running call with `status`; the caller unwinds.
bool Context::stop(const Status &status) {
  callStatus = prefixed(placed(status));
  if (running->artifact->manifest().ranks != 0)
    group->raise(callStatus);
  return false;
}

/// The error with the collective it was met in, unless it names one.
Status Context::placed(const Status &status) const {
  if (!inCollective || !status.details().op.empty())
    return status;
  return status.detailed([&](ErrorDetails &details) {
    ErrorDetails place = group->place();
    details.op = place.op;
    details.location = place.location;
    details.phase = place.phase;
  });
}

void Context::stopForMemory() noexcept {
  // Short enough for a string to hold without memory of its own.
  callStatus = Status(MOERT_OUT_OF_MEMORY, "out of memory");
  if (running->artifact->manifest().ranks != 0)
    group->raise(callStatus);
}

std::string Context::here() const {
  return inCollective ? group->here() : running->callText;
}

bool Context::beginCollective(const char *op, const char *location,
                              int64_t site) {
  inCollective = true;
  // A call that failed may have left it open.
  if (messages)
    messages->isOpen = false;
  ++collectiveNumber;
  sameCollective.resize(size());
  group->beginCollective(op, location, site, running->artifact->identity());
  times.beginCollective(op, location);
  // Kernels see signals, not whose they are: look while the host has control.
  bool matches = true;
  if (backend->isAsynchronous())
    for (int peer = 0; peer < size() && matches; ++peer)
      matches = checkOrder(peer);
  return matches;
}

void Context::phase(const char *name) {
  group->setPhase(name);
  times.phase(name);
}

bool Context::endCollective() {
  if (messages && messages->isOpen)
    return stop(openExchangeError("moert_collective_end").withPrefix(here()));
  wakeSleepers();
  inCollective = false;
  group->endCollective();
  times.endCollective();
  return true;
}

namespace {
/// Why a wait of generated code may end early.
class FlagGuard : public WaitGuard {
public:
  FlagGuard(GroupControl &group, const PeerWait &bounds, const uint64_t *flag,
            AwaitedFlag awaited, int peer)
      : group(group), bounds(bounds), flag(flag), awaited(awaited), peer(peer) {
  }

  void sleep(int64_t mostNs) override {
    group.sleep(
        peer, awaited,
        [&] {
          return __atomic_load_n(flag, __ATOMIC_ACQUIRE) >= awaited.value;
        },
        mostNs);
  }

  Status check(uint64_t seen) override {
    if (Status s = bounds.check(peer, "a signal"); !s.isOk())
      return s;
    if (!bounds.isTimeUp())
      return Status::ok();
    Status status =
        bounds.timeOut(peer, format("expected signal %llu, seen %llu",
                                    (unsigned long long)awaited.value,
                                    (unsigned long long)seen));
    if (status.code() != MOERT_TIMEOUT)
      return status;
    return status.detailed([&](ErrorDetails &details) {
      details.what = "signal";
      details.expected = std::to_string(awaited.value);
      details.seen = std::to_string(seen);
    });
  }

private:
  GroupControl &group;
  PeerWait bounds;
  const uint64_t *flag;
  AwaitedFlag awaited;
  int peer;
};
} // namespace

bool Context::wait(const uint64_t *flag, uint64_t value, int64_t peer) {
  if (peer < 0 || peer >= group->size())
    return stop(makeError(MOERT_INTERNAL, "%s: wait for rank %lld of %d",
                          here().c_str(), (long long)peer, size()));
  // What this rank has signalled it has signalled before it waits for something
  // new: for another value, or in other flags, where that of a rank lies at its
  // number.
  uintptr_t flags =
      reinterpret_cast<uintptr_t>(flag) - sizeof(*flag) * size_t(peer);
  bool isNew = value != lastValue || flags != lastFlags;
  lastFlags = flags;
  lastValue = value;
  if (isNew)
    wakeSleepers();
  // Most signals are there already.
  if (__atomic_load_n(flag, __ATOMIC_ACQUIRE) >= value)
    return checkOrder(int(peer));
  AwaitedFlag awaited{
      uint64_t(reinterpret_cast<const char *>(flag) - symmHeap->slice(rank())),
      value};
  PeerWait bounds(*group, inCollective ? nullptr : &running->callText,
                  options.timeoutSeconds);
  FlagGuard guard(*group, bounds, flag, awaited, static_cast<int>(peer));
  Status status = backend->wait(flag, value, guard);
  return status.isOk() ? checkOrder(int(peer)) : stop(status);
}

/// Wakes ranks that sleep for what this one has signalled.
void Context::wakeSleepers() {
  group->wakeSleepers([this](int peer, const AwaitedFlag &awaited) {
    size_t bytes = symmHeap->committedBytes();
    if (awaited.offset % 8 != 0 || bytes < 8 || awaited.offset > bytes - 8)
      return true; // it may look for itself
    auto *flag = reinterpret_cast<const uint64_t *>(symmHeap->slice(peer) +
                                                    awaited.offset);
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE) >= awaited.value;
  });
}

/// A signal that came from another collective is no signal.
bool Context::checkOrder(int peer) {
  if (!inCollective || peer == group->rank())
    return true;
  // Once is enough in a collective.
  uint64_t &seen = sameCollective[peer];
  if (seen != collectiveNumber && group->isInSameCollective(peer))
    seen = collectiveNumber;
  if (seen == collectiveNumber)
    return true;
  Status status = group->compareCollectives(peer);
  return status.isOk() || stop(status);
}

void Context::failHere(const FailedCheck &check) {
  stop(describeCheck(here(), check));
}

void Context::failAssertion(const char *location, const char *text) {
  stop(makeError(MOERT_ASSERTION_FAILED, "cf.assert at %s: %s: %s", location,
                 codeText(MOERT_ASSERTION_FAILED).c_str(), text)
           .detailed([&](ErrorDetails &details) {
             details.op = "cf.assert";
             details.location = location;
             details.what = text;
           }));
}

bool Context::allocate(int64_t bytes, int64_t alignment, void *&out) {
  return allocateFrom(*arena, bytes, alignment, out);
}

bool Context::allocateFrom(Memory &memory, int64_t bytes, int64_t alignment,
                           void *&out) {
  out = memory.allocate(bytes, alignment);
  return out || stop(makeError(MOERT_OUT_OF_MEMORY,
                               "%s: cannot allocate %lld bytes aligned to %lld",
                               here().c_str(), (long long)bytes,
                               (long long)alignment));
}

bool Context::allocateResult(int64_t index, int64_t bytes, int64_t alignment,
                             void *&out) {
  out = runningFrame->takeGiven(index, bytes);
  return out || allocateFrom(runningFrame->memoryOfResult(index), bytes,
                             alignment, out);
}

void *Context::symmetricResult(int64_t index, int64_t offset, int64_t bytes) {
  if (void *given = runningFrame->given(index, bytes))
    return given;
  return running->artifact->workspace + offset;
}

bool Context::free(void *ptr) {
  return arena->free(ptr) || hostArena->free(ptr) ||
         stop(makeError(MOERT_INTERNAL,
                        "%s: freeing %p, which moert_alloc did not give out",
                        here().c_str(), ptr));
}
