//===- Handlers.cpp - functions that XLA calls ----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Handlers.h"

#include "Exchange.h"
#include "Frame.h"
#include "Threads.h"

#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>

using namespace moe::py;
namespace xla = moe::xla;

namespace {
/// What a call of XLA's runs.
struct Work {
  std::shared_ptr<XlaExchange> exchange;
  XlaExchange::Rank *rank = nullptr;
  const Entry *entry = nullptr;
  XlaTensors tensors;
  void *stream = nullptr;

  Context &context() const { return *entry->owner().context; }
};

/// An error that is not yet one of XLA's.
struct Failure {
  xla::ErrorCode code;
  std::string message;
};
} // namespace

static xla::Error *make(const xla::Api *api, const Failure &failure) {
  return makeXlaError(api, failure.code, failure.message);
}

/// Finds the rank and reads the buffers. Returns an error of XLA's or null.
static xla::Error *prepare(const xla::CallFrame &frame, const XlaSite &site,
                           int64_t numSkipped, Work &work) {
  auto fail = [&](xla::ErrorCode code, const std::string &message) {
    return makeXlaError(frame.api, code, "moe_mlir: " + message);
  };
  work.exchange = XlaExchange::find(site.exchange, site.fingerprint);
  if (!work.exchange)
    return fail(xla::ErrorCode::FailedPrecondition,
                site.entry + ": expected an open ExpertParallel, but the one "
                             "that the program was traced with is closed");
  auto asked = argumentsFor<xla::DeviceOrdinalGetArgs>(
      offsetof(xla::DeviceOrdinalGetArgs, ordinal) + sizeof(int32_t));
  asked.context = frame.context;
  if (xla::Error *error = frame.api->deviceOrdinalGet(&asked))
    return error;
  work.rank = work.exchange->rankOf(asked.ordinal);
  if (!work.rank)
    return fail(xla::ErrorCode::InvalidArgument,
                site.entry +
                    ": expected a device of the mesh that the "
                    "ExpertParallel was made with, got device " +
                    std::to_string(asked.ordinal));
  auto found = work.rank->entries.find(site.entry);
  if (found == work.rank->entries.end())
    return fail(xla::ErrorCode::InvalidArgument,
                "the artifact has no entry " + site.entry);
  work.entry = found->second.get();
  if (!work.tensors.read(frame, work.context().device(), numSkipped))
    return fail(xla::ErrorCode::InvalidArgument,
                site.entry + ": a buffer is of a type that artifacts do not "
                             "have");
  return nullptr;
}

/// Calls the runtime. On a GPU the call is enqueued when this returns.
static std::optional<Failure> launch(Work &work) {
  Context::Running guard(work.context());
  const Artifact &artifact = work.entry->owner();
  if (work.context().isClosed() || artifact.isUnloaded)
    return Failure{xla::ErrorCode::FailedPrecondition,
                   "rank " + std::to_string(work.context().rank()) + ": " +
                       work.entry->name() + ": the group is closed"};
  std::lock_guard<std::mutex> lock(work.context().oneCall);
  const auto &inputs = work.tensors.inputs();
  const auto &outputs = work.tensors.outputs();
  moert_code code = moert_entry_launch_into(
      work.entry->pointer(), inputs.data(), inputs.size(), outputs.data(),
      outputs.size(), work.stream);
  if (code == MOERT_OK)
    return std::nullopt;
  return Failure{xlaCodeOf(code), moert_last_error()};
}

//===----------------------------------------------------------------------===//
// CUDA devices
//===----------------------------------------------------------------------===//

/// XLA has a thread per device, which enqueues its calls in the order of one
/// schedule for all of them.
static xla::Error *executeOnCuda(xla::CallFrame *frame) {
  if (answersMetadata(*frame))
    return nullptr;
  XlaSite site;
  if (!readSite(frame->attributes, site))
    return makeXlaError(frame->api, xla::ErrorCode::InvalidArgument,
                        "moe_mlir: attributes are missing");
  Work work;
  if (xla::Error *error = prepare(*frame, site, 0, work))
    return error;
  auto asked = argumentsFor<xla::StreamGetArgs>();
  asked.context = frame->context;
  if (xla::Error *error = frame->api->streamGet(&asked))
    return error;
  work.stream = asked.stream;
  if (auto failure = launch(work))
    return make(frame->api, *failure);
  return nullptr;
}

//===----------------------------------------------------------------------===//
// CPU devices
//===----------------------------------------------------------------------===//

static xla::TypeId siteType{0};
static const xla::TypeInfo siteInfo{
    {sizeof(xla::TypeInfo), nullptr},
    [](void *object) { delete static_cast<XlaSite *>(object); }};

/// Once per instruction of a program. Its address stands for the instruction.
static xla::Error *instantiateOnCpu(xla::CallFrame *frame) {
  if (answersMetadata(*frame, &siteType))
    return nullptr;
  auto site = std::make_unique<XlaSite>();
  if (!readSite(frame->attributes, *site))
    return makeXlaError(frame->api, xla::ErrorCode::InvalidArgument,
                        "moe_mlir: attributes are missing");
  auto set = argumentsFor<xla::StateSetArgs>();
  set.context = frame->context;
  set.stage = xla::Stage::Instantiate;
  set.type = &siteType;
  set.state = site.get();
  if (xla::Error *error = frame->api->stateSet(&set))
    return error;
  (void)site.release();
  return nullptr;
}

/// Tells XLA that a call has ended.
static void complete(const xla::Api *api, xla::Future *future,
                     const std::optional<Failure> &failure) {
  xla::Error *error = nullptr;
  if (failure) {
    auto args = argumentsFor<xla::FutureSetErrorArgs>();
    args.future = future;
    args.error = make(api, *failure);
    error = api->futureSetError(&args);
  } else {
    auto args = argumentsFor<xla::FutureSetAvailableArgs>();
    args.future = future;
    error = api->futureSetAvailable(&args);
  }
  // It is refused for structs of another version alone, which XLA has checked
  // when it asked for the metadata.
  if (error) {
    auto args = argumentsFor<xla::ErrorDestroyArgs>();
    args.error = error;
    api->errorDestroy(&args);
  }
}

/// Waits for its turn and calls the runtime.
static std::optional<Failure> runInTurn(Work &work, const Turns::Call &call) {
  Turns &turns = work.rank->group->turns;
  size_t number = work.rank->numInGroup;
  std::string missing = turns.wait(number, call, work.exchange->seconds,
                                   [&] { return work.context().hasFailed(); });
  if (!missing.empty()) {
    std::string message = "rank " + std::to_string(work.context().rank()) +
                          ": " + work.entry->name() + ": " + missing;
    work.context().tellFailure(MOERT_TIMEOUT, message);
    return Failure{xla::ErrorCode::DeadlineExceeded, message};
  }
  std::optional<Failure> failure = launch(work);
  turns.done(number);
  return failure;
}

/// A program's first argument is the position of the device on the axis, as the
/// program has it. On a GPU it would lie in the GPU's memory.
static xla::Error *checkPosition(const xla::CallFrame &frame, Work &work) {
  int32_t position = -1, rank = work.context().rank();
  const auto &buffer =
      *static_cast<const xla::Buffer *>(frame.arguments.values[0]);
  std::memcpy(&position, buffer.data, sizeof(position));
  if (position == rank)
    return nullptr;
  std::string message =
      "rank " + std::to_string(rank) + ": " + work.entry->name() +
      ": expected the mesh that the ExpertParallel was made with, where this "
      "device is at position " +
      std::to_string(rank) + " of its axis, got one where it is at position " +
      std::to_string(position);
  work.context().tellFailure(MOERT_INVALID_ARGUMENT, message);
  return makeXlaError(frame.api, xla::ErrorCode::InvalidArgument, message);
}

/// The exchange runs on another thread, and XLA goes on with what does not
/// depend on it: its own threads, which may be fewer than devices, never wait
/// for other ranks.
static xla::Error *executeOnCpu(xla::CallFrame *frame) {
  if (answersMetadata(*frame))
    return nullptr;
  const xla::Api *api = frame->api;
  auto state = argumentsFor<xla::StateGetArgs>();
  state.context = frame->context;
  state.stage = xla::Stage::Instantiate;
  state.type = &siteType;
  if (xla::Error *error = api->stateGet(&state))
    return error;
  auto run = argumentsFor<xla::RunIdGetArgs>();
  run.context = frame->context;
  if (xla::Error *error = api->runIdGet(&run))
    return error;
  auto work = std::make_shared<Work>();
  const auto &site = *static_cast<XlaSite *>(state.state);
  if (xla::Error *error = prepare(*frame, site, 1, *work))
    return error;
  if (xla::Error *error = checkPosition(*frame, *work))
    return error;
  Turns::Call call{run.runId, state.state};
  Turns &turns = work->rank->group->turns;
  turns.announce(work->rank->numInGroup, call);
  auto runHere = [&]() -> xla::Error * {
    std::optional<Failure> failure = runInTurn(*work, call);
    return failure ? make(api, *failure) : nullptr;
  };
  if (!turns.mayReturnEarly())
    return runHere();
  auto made = argumentsFor<xla::FutureCreateArgs>();
  if (xla::Error *error = api->futureCreate(&made)) {
    auto destroy = argumentsFor<xla::ErrorDestroyArgs>();
    destroy.error = error;
    api->errorDestroy(&destroy);
    return runHere();
  }
  xla::Future *future = made.future;
  frame->future = future;
  bool isStarted = Threads::get().run([work, call, api, future] {
    std::optional<Failure> failure = runInTurn(*work, call);
    // What follows in the program may run here, on this thread.
    complete(api, future, failure);
  });
  // Without a thread it runs here, which is right as long as XLA has one for
  // each device.
  if (!isStarted)
    complete(api, future, runInTurn(*work, call));
  return nullptr;
}

XlaHandlers moe::py::xlaHandlers() {
  return {instantiateOnCpu, executeOnCpu, executeOnCuda, &siteType, &siteInfo};
}
