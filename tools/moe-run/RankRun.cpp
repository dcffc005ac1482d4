//===- RankRun.cpp - what one rank of moe-run does ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RankRun.h"

#include "GivenOutputs.h"
#include "Report.h"
#include "TraceFile.h"
#include "moe-runtime/FileSizeLimit.h"
#include "moe-runtime/Npy.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

double moe::run::endSeconds(const Options &options) {
  return std::max(5.0, options.timeoutSeconds);
}

namespace {
/// Results of the last call.
class Results {
public:
  ~Results() { clear(); }
  void clear() {
    for (DLManagedTensor *tensor : tensors)
      tensor->deleter(tensor);
    tensors.clear();
  }
  std::vector<DLManagedTensor *> tensors;
};

/// One rank's way from the files to the results.
class RankRun {
public:
  RankRun(const Options &options, const ArtifactFile &file,
          const std::vector<OutputFile *> &outputs,
          const RankObserver &observer)
      : options(options), file(file), outputs(outputs), observer(observer) {}

  Status start(std::unique_ptr<Bootstrap> bootstrap);
  Status prepare();
  Status placeInputs();
  Status placeOutputs();
  Status callAll();
  Status writeOutputs();
  Status report();
  Status writeTrace();

  /// What all ranks have reported, on rank 0, as text to print.
  std::string document;

  std::optional<Trace> trace; ///< outlives the context, which writes to it
  std::unique_ptr<Context> context;
  int rank = 0;

private:
  Status readInputs();
  std::vector<const DLTensor *> inputPointers() const;
  Status callOnce();
  Status writeOutput(const OutputFile &output, const DLTensor &tensor,
                     const TensorType &type);

  const Options &options;
  const ArtifactFile &file;
  const std::vector<OutputFile *> &outputs;
  const RankObserver &observer;
  Artifact *artifact = nullptr;
  Entry *entry = nullptr;
  std::vector<NpyArray> inputs;
  std::vector<DLTensor> views;
  Results results;
  GivenOutputs given; ///< with --into
  RankReport facts;
  std::vector<std::pair<int64_t, int64_t>> calls; ///< begin and end
};
} // namespace

Status RankRun::start(std::unique_ptr<Bootstrap> bootstrap) {
  rank = bootstrap->rank();
  observer.onPhase("joining the group", 0);
  ContextOptions contextOptions;
  contextOptions.timeoutSeconds = options.timeoutSeconds;
  contextOptions.backend = backendOf(options.target);
  if (options.symmReserveBytes)
    contextOptions.symmReserveBytes = options.symmReserveBytes;
  auto created = Context::create(std::move(bootstrap), contextOptions);
  if (created.isOk())
    context = created.take();
  return created.status();
}

Status RankRun::readInputs() {
  const std::vector<TensorType> &args = entry->description->args;
  if (options.inputs.size() != args.size())
    return makeError(MOERT_INVALID_ARGUMENT,
                     "entry '%s' has %zu arguments, but --in is given %zu "
                     "times",
                     entry->description->name.c_str(), args.size(),
                     options.inputs.size());
  size_t numResults = entry->description->results.size();
  if (options.outputs.size() > numResults)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "entry '%s' has %zu results, but --out is given %zu times",
                     entry->description->name.c_str(), numResults,
                     options.outputs.size());
  for (size_t i = 0; i < args.size(); ++i) {
    std::string path = forRank(options.inputs[i], rank);
    auto array = readNpy(path, args[i].dtype, [&](const auto &shape) {
      return checkShape(args[i], shape.data(), shape.size());
    });
    if (!array.isOk())
      return array.status().withPrefix(format("argument %zu", i));
    inputs.push_back(array.take());
  }
  for (NpyArray &array : inputs)
    views.push_back(array.view());
  return Status::ok();
}

/// Brings the inputs to where calls take them as they are: symmetric ones to
/// symmetric memory, and all but those of the host to the device. Collective.
Status RankRun::placeInputs() {
  bool isHost = context->device().device().device_type == kDLCPU;
  const std::vector<TensorType> &args = entry->description->args;
  for (size_t i = 0; i < args.size(); ++i) {
    if ((isHost || args[i].isHost) && !args[i].isSymmetric)
      continue;
    int64_t count = 1;
    for (int64_t extent : inputs[i].shape)
      count *= extent;
    size_t bytes = size_t(count) * dtypeBytes(args[i].dtype);
    void *memory = nullptr;
    if (args[i].isSymmetric) {
      // As large on all ranks as on the one with the most.
      uint64_t mine = bytes, most = 0;
      std::vector<uint64_t> all(context->size());
      if (Status s = context->boot().allGather(&mine, sizeof(mine), all.data());
          !s.isOk())
        return s;
      for (uint64_t size : all)
        most = std::max(most, size);
      auto block = context->symmAlloc(most);
      if (!block.isOk())
        return block.status();
      memory = *block;
    } else {
      memory = context->memory().allocate(int64_t(bytes), 64);
      if (!memory)
        return makeError(MOERT_OUT_OF_MEMORY,
                         "rank %d: argument %zu: no room for %zu bytes on %s",
                         rank, i, bytes, context->device().deviceName());
      context->memory().keep(memory);
    }
    DLTensor placed = views[i];
    placed.data = memory;
    placed.byte_offset = 0;
    placed.strides = nullptr;
    placed.device = context->device().device();
    std::vector<char> dense(bytes);
    if (Status s = context->copyToHost(views[i], dense.data(), bytes);
        !s.isOk())
      return s;
    if (Status s = context->copyFromHost(placed, dense.data(), bytes);
        !s.isOk())
      return s;
    views[i] = placed;
    inputs[i].data = {};
  }
  return Status::ok();
}

std::vector<const DLTensor *> RankRun::inputPointers() const {
  std::vector<const DLTensor *> pointers;
  for (const DLTensor &view : views)
    pointers.push_back(&view);
  return pointers;
}

Status RankRun::placeOutputs() {
  observer.onPhase("placing its results", 0);
  return given.create(*context, *entry, inputPointers());
}

Status RankRun::callOnce() {
  if (options.into)
    return context->callInto(*entry, inputPointers(), given.pointers());
  // The memory of the last results serves for the next ones.
  results.clear();
  return context->call(*entry, inputPointers(), results.tensors);
}

/// What comes before the first call.
Status RankRun::prepare() {
  // As long as others wait in Context::load, and for a rank alone, too. Then
  // others, who know more of this one, speak first.
  bool isCuda = backendOf(options.target) == "cuda";
  observer.onPhase("loading the artifact",
                   std::max(options.timeoutSeconds, isCuda ? 60.0 : 0.0) + 2);
  auto loaded =
      context->load(forRank(file.path, rank), forRank(file.displayName, rank));
  if (!loaded.isOk())
    return loaded.status();
  artifact = *loaded;
  observer.onPhase("reading its arguments", 0);
  auto found = artifact->entry(forRank(options.entry, rank));
  Status status = found.status();
  if (found.isOk()) {
    entry = *found;
    status = readInputs();
  }
  return status.withPrefix(format("rank %d", rank));
}

Status RankRun::callAll() {
  observer.onPhase("calling entry '" + entry->description->name + "'", 0);
  for (int i = 0; i < options.numWarmups(); ++i)
    if (Status s = callOnce(); !s.isOk())
      return s;
  context->timings().clear();
  if (!options.trace.empty())
    trace.emplace(traceCapacity(context->size()));
  // The host sees no phase of a kernel.
  bool seesPhases = !context->device().isAsynchronous();
  context->timings().setTrace(trace && seesPhases ? &*trace : nullptr);
  for (int i = 0; i < std::max(1, options.bench); ++i) {
    int64_t begin = nowNs();
    if (Status s = callOnce(); !s.isOk())
      return s;
    calls.emplace_back(begin, nowNs());
    facts.callNs.push_back(calls.back().second - begin);
  }
  context->timings().setTrace(nullptr);
  return Status::ok();
}

Status RankRun::writeOutput(const OutputFile &output, const DLTensor &tensor,
                            const TensorType &type) {
  DLTensor onHost = tensor;
  std::vector<char> dense;
  if (tensor.device.device_type != kDLCPU) {
    int64_t count = countElements(tensor.shape, tensor.ndim).value_or(0);
    dense.resize(size_t(count) * dtypeBytes(type.dtype));
    if (Status s = context->copyToHost(tensor, dense.data(), dense.size());
        !s.isOk())
      return s;
    onHost.device = {kDLCPU, 0};
    onHost.data = dense.data();
    onHost.byte_offset = 0;
    onHost.strides = nullptr;
  }
  if (Status s = writeNpy(output.fd(), output.path(), onHost, type.dtype);
      !s.isOk())
    return s;
  // Some file systems report a full disk when a descriptor is closed.
  int copy = dup(output.fd());
  if (copy < 0 || close(copy) != 0)
    return makeOsError(MOERT_IO, errno, "cannot write %s",
                       output.path().c_str());
  return Status::ok();
}

Status RankRun::writeOutputs() {
  observer.onPhase("writing its results", 0);
  size_t count = options.into ? given.tensors().size() : results.tensors.size();
  for (size_t i = 0; i < count; ++i) {
    const DLTensor &tensor =
        options.into ? given.tensors()[i] : results.tensors[i]->dl_tensor;
    const TensorType &type = entry->description->results[i];
    OutputFact output{
        type.dtype, {tensor.shape, tensor.shape + tensor.ndim}, ""};
    if (i < options.outputs.size()) {
      if (Status s = writeOutput(*outputs[i], tensor, type); !s.isOk())
        return context->fail(s);
      output.path = outputs[i]->path();
    }
    facts.outputs.push_back(std::move(output));
  }
  return Status::ok();
}

/// Writes what all ranks did when, on rank 0. Collective.
Status RankRun::writeTrace() {
  if (options.trace.empty())
    return Status::ok();
  RankTrace mine{rank,
                 context->device().deviceName(),
                 context->timings().rows(),
                 trace->events(),
                 trace->dropped(),
                 {}};
  // As many calls as there may be events: --bench can ask for a million.
  size_t kept = std::min(calls.size(), traceCapacity(context->size()));
  mine.calls.assign(calls.begin(), calls.begin() + kept);
  mine.dropped += calls.size() - kept;
  auto texts = allGatherText(context->boot(), toText(mine));
  if (!texts.isOk() || rank != 0)
    return texts.status();
  std::string text = makeTraceDocument(entry->description->name, *texts);
  const OutputFile &file = *outputs.back();
  FileSizeSignalBlock block;
  return writeExactly(file.fd(), text.data(), text.size())
             ? Status::ok()
             : makeFileError(MOERT_IO, errno, "cannot write " + file.path());
}

Status RankRun::report() {
  facts.rank = rank;
  facts.device = context->device().deviceName();
  facts.timings = context->timings().rows();
  if (!options.json && !options.bench)
    return Status::ok();
  auto texts = allGatherText(context->boot(), toJson(facts));
  if (texts.isOk() && rank == 0)
    document = makeReport(options, artifact->manifest(), file.displayName,
                          entry->description->name, *texts);
  return texts.status();
}

Outcome moe::run::runRank(const Options &options, const ArtifactFile &file,
                          std::unique_ptr<Bootstrap> bootstrap,
                          const std::vector<OutputFile *> &outputs,
                          const RankObserver &observer) {
  RankRun run(options, file, outputs, observer);
  Status status = run.start(std::move(bootstrap));
  if (!status.isOk()) {
    Outcome outcome{status, status.code() != MOERT_PEER_FAILED};
    observer.onFailure(outcome);
    return outcome;
  }
  Outcome outcome;
  int failedRank = -1;
  auto fail = [&](const Status &error) {
    if (!outcome.status.isOk() || error.isOk())
      return;
    int origin = run.context->originRank();
    if (origin < 0)
      origin = failedRank;
    bool isOrigin =
        origin >= 0 ? origin == run.rank : error.code() != MOERT_PEER_FAILED;
    outcome = {error, isOrigin};
    observer.onFailure(outcome);
  };
  // All ranks agree after each step that others depend on. These may be unable
  // to come, so an error is told first, and then they are not waited for long.
  auto agree = [&](const Status &mine) {
    fail(mine);
    if (!mine.isOk())
      run.context->boot().setTimeout(std::min(2.0, options.timeoutSeconds));
    Status all = agreeStatus(run.context->boot(), mine, &failedRank);
    return mine.isOk() ? all.withPrefix(format("rank %d", run.rank)) : mine;
  };
  status = agree(run.prepare());
  if (status.isOk())
    status = agree(run.placeInputs());
  if (status.isOk() && options.into)
    status = agree(run.placeOutputs());
  if (status.isOk()) {
    status = run.callAll();
    if (status.isOk())
      status = run.writeOutputs();
    status = agree(status);
  }
  if (status.isOk() && !options.trace.empty())
    status = agree(run.writeTrace());
  if (status.isOk())
    status = run.report();
  fail(status);
  if (status.isOk())
    observer.onSuccess(run.document);
  return outcome;
}
