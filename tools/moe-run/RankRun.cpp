//===- RankRun.cpp - what one rank of moe-run does ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RankRun.h"

#include "Report.h"
#include "moe-runtime/Context.h"
#include "moe-runtime/Npy.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::run;

std::string moe::run::temporaryName(const std::string &output, int rank,
                                    int token) {
  return forRank(output, rank) + format(".tmp-%d-%d", token, rank);
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
  RankRun(const Options &options, const ArtifactFile &file, int token)
      : options(options), file(file), token(token) {}

  Status start(std::unique_ptr<Bootstrap> bootstrap);
  Status prepare();
  Status placeInputs();
  Status callAll();
  Status writeOutputs();
  Status commit();
  Status report();
  void discard();

  std::unique_ptr<Context> context;
  int rank = 0;

private:
  Status readInputs();
  Status callOnce();
  Status writeOutput(const std::string &name, const DLTensor &tensor,
                     const TensorType &type);

  const Options &options;
  const ArtifactFile &file;
  int token;
  Artifact *artifact = nullptr;
  Entry *entry = nullptr;
  std::vector<NpyArray> inputs;
  std::vector<DLTensor> views;
  Results results;
  RankReport facts;
  std::vector<std::string> written; ///< temporary names
  std::vector<std::string> renamed;
};
} // namespace

Status RankRun::start(std::unique_ptr<Bootstrap> bootstrap) {
  rank = bootstrap->rank();
  ContextOptions contextOptions;
  contextOptions.timeoutSeconds = options.timeoutSeconds;
  contextOptions.backend = backendOf(options.target);
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
    auto array = readNpy(path, args[i].dtype);
    Status status = array.status();
    if (status.isOk()) {
      std::string wrong =
          checkShape(args[i], array->shape.data(), array->shape.size());
      if (!wrong.empty())
        status = makeError(MOERT_INVALID_ARGUMENT, "%s: %s", path.c_str(),
                           wrong.c_str());
    }
    if (!status.isOk())
      return status.withPrefix(format("argument %zu", i));
    inputs.push_back(array.take());
  }
  for (NpyArray &array : inputs)
    views.push_back(array.view());
  return Status::ok();
}

/// Brings the inputs to where calls take them as they are: symmetric ones to
/// symmetric memory, and all to the device. Collective.
Status RankRun::placeInputs() {
  bool isHost = context->device().device().device_type == kDLCPU;
  const std::vector<TensorType> &args = entry->description->args;
  for (size_t i = 0; i < args.size(); ++i) {
    if (isHost && !args[i].isSymmetric)
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

Status RankRun::callOnce() {
  std::vector<const DLTensor *> pointers;
  for (const DLTensor &view : views)
    pointers.push_back(&view);
  // The memory of the last results serves for the next ones.
  results.clear();
  return context->call(*entry, pointers, results.tensors);
}

/// What comes before the first call.
Status RankRun::prepare() {
  auto loaded =
      context->load(forRank(file.path, rank), forRank(file.displayName, rank));
  if (!loaded.isOk())
    return loaded.status();
  artifact = *loaded;
  auto found = artifact->entry(forRank(options.entry, rank));
  Status status = found.status();
  if (found.isOk()) {
    entry = *found;
    status = readInputs();
  }
  return status.withPrefix(format("rank %d", rank));
}

Status RankRun::callAll() {
  for (int i = 0; i < options.numWarmups(); ++i)
    if (Status s = callOnce(); !s.isOk())
      return s;
  context->timings().clear();
  for (int i = 0; i < std::max(1, options.bench); ++i) {
    int64_t begin = nowNs();
    if (Status s = callOnce(); !s.isOk())
      return s;
    facts.callNs.push_back(nowNs() - begin);
  }
  return Status::ok();
}

Status RankRun::writeOutput(const std::string &name, const DLTensor &tensor,
                            const TensorType &type) {
  if (tensor.device.device_type == kDLCPU)
    return writeNpy(name, tensor, type.dtype);
  int64_t count = countElements(tensor.shape, tensor.ndim).value_or(0);
  std::vector<char> dense(size_t(count) * dtypeBytes(type.dtype));
  if (Status s = context->copyToHost(tensor, dense.data(), dense.size());
      !s.isOk())
    return s;
  DLTensor onHost = tensor;
  onHost.device = {kDLCPU, 0};
  onHost.data = dense.data();
  onHost.byte_offset = 0;
  onHost.strides = nullptr;
  return writeNpy(name, onHost, type.dtype);
}

Status RankRun::writeOutputs() {
  for (size_t i = 0; i < results.tensors.size(); ++i) {
    const DLTensor &tensor = results.tensors[i]->dl_tensor;
    const TensorType &type = entry->description->results[i];
    OutputFact output{
        type.dtype, {tensor.shape, tensor.shape + tensor.ndim}, ""};
    if (i < options.outputs.size()) {
      std::string name = temporaryName(options.outputs[i], rank, token);
      written.push_back(name);
      if (Status s = writeOutput(name, tensor, type); !s.isOk())
        return context->fail(s);
      output.path = forRank(options.outputs[i], rank);
    }
    facts.outputs.push_back(std::move(output));
  }
  return Status::ok();
}

/// Gives the outputs their names once every rank has written its own.
Status RankRun::commit() {
  Status status;
  for (size_t i = 0; i < written.size() && status.isOk(); ++i) {
    std::string path = forRank(options.outputs[i], rank);
    if (rename(written[i].c_str(), path.c_str()) != 0)
      status = context->fail(
          makeOsError(MOERT_IO, errno, "cannot write %s", path.c_str()));
    else
      renamed.push_back(path);
  }
  return status;
}

Status RankRun::report() {
  facts.rank = rank;
  facts.device = context->device().deviceName();
  facts.timings = context->timings().rows();
  if (!options.json && !options.bench)
    return Status::ok();
  auto texts = allGatherText(context->boot(), toJson(facts));
  if (!texts.isOk())
    return texts.status();
  if (rank == 0)
    return printReport(options, artifact->manifest(), file.displayName,
                       entry->description->name, *texts);
  return Status::ok();
}

void RankRun::discard() {
  for (const std::string &name : written)
    (void)unlink(name.c_str());
  for (const std::string &name : renamed)
    (void)unlink(name.c_str());
}

Outcome
moe::run::runRank(const Options &options, const ArtifactFile &file,
                  std::unique_ptr<Bootstrap> bootstrap, int token,
                  const std::function<void(const Outcome &)> &onFailure) {
  RankRun run(options, file, token);
  Status status = run.start(std::move(bootstrap));
  if (!status.isOk()) {
    Outcome outcome{status, status.code() != MOERT_PEER_FAILED};
    onFailure(outcome);
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
    onFailure(outcome);
  };
  // All ranks agree after each step that others depend on.
  auto agree = [&](const Status &mine) {
    Status all = agreeStatus(run.context->boot(), mine, &failedRank);
    return mine.isOk() ? all.withPrefix(format("rank %d", run.rank)) : mine;
  };
  status = agree(run.prepare());
  if (status.isOk())
    status = agree(run.placeInputs());
  if (status.isOk()) {
    status = run.callAll();
    if (status.isOk())
      status = run.writeOutputs();
    // Others may be unable to come, so first say what happened, and then do
    // not wait long for them.
    fail(status);
    if (!status.isOk())
      run.context->boot().setTimeout(std::min(2.0, options.timeoutSeconds));
    status = agree(status);
    if (status.isOk())
      status = agree(run.commit());
  }
  fail(status);
  // What was written by all stays, also when it cannot be reported.
  if (status.isOk())
    fail(run.report());
  else
    run.discard();
  return outcome;
}
