//===- CApi.cpp - the C API -----------------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiHandles.h"

#include <algorithm>
#include <cstring>

using namespace moe::rt;

Status &moe::rt::lastError() {
  static thread_local Status status;
  return status;
}

moert_code moe::rt::report(const Status &status) {
  lastError() = status;
  return status.code();
}

Status moe::rt::missing(const char *what) {
  return makeError(MOERT_INVALID_ARGUMENT, "%s is NULL", what);
}

const char *moert_code_name(moert_code code) { return codeName(code); }

const char *moert_last_error(void) { return lastError().message().c_str(); }

moert_code moert_last_error_info(moert_error_info *out) {
  const Status &status = lastError();
  const ErrorDetails &details = status.details();
  // Not by report(), which would replace what is asked for.
  if (!out || out->struct_size < sizeof(size_t))
    return MOERT_INVALID_ARGUMENT;
  bool isFirst = details.cause == MOERT_OK;
  moert_error_info info = {sizeof(moert_error_info),
                           status.code(),
                           isFirst ? status.code() : details.cause,
                           details.rank,
                           details.origin,
                           details.peer,
                           details.op.c_str(),
                           details.location.c_str(),
                           details.phase.c_str(),
                           details.what.c_str(),
                           details.expected.c_str(),
                           details.seen.c_str(),
                           status.message().c_str()};
  info.struct_size = std::min(out->struct_size, sizeof(info));
  std::memcpy(out, &info, info.struct_size);
  return MOERT_OK;
}

//===----------------------------------------------------------------------===//
// Contexts
//===----------------------------------------------------------------------===//

static Status readBootstrap(const moert_bootstrap *given,
                            std::unique_ptr<Bootstrap> &out) {
  if (!given) {
    out = createSoloBootstrap();
    return Status::ok();
  }
  // The fields that all versions have.
  constexpr size_t oldest = offsetof(moert_bootstrap, allgather_explained);
  if (given->struct_size < oldest)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "moert_bootstrap has %zu bytes, this runtime expects %zu",
                     given->struct_size, sizeof(moert_bootstrap));
  if (given->size < 1 || given->rank < 0 || given->rank >= given->size)
    return makeError(MOERT_INVALID_ARGUMENT, "rank %d of a group of %d",
                     given->rank, given->size);
  auto explained = given->struct_size >= sizeof(moert_bootstrap)
                       ? given->allgather_explained
                       : nullptr;
  if (!given->allgather && !explained)
    return missing("moert_bootstrap.allgather");
  BootstrapCallbacks callbacks;
  callbacks.allGather = [function = given->allgather, explained,
                         user = given->user](const void *in, size_t bytes,
                                             void *out, double timeout,
                                             char *error, size_t errorBytes) {
    if (explained)
      return explained(user, in, bytes, out, timeout, error, errorBytes);
    int code = function(user, in, bytes, out, timeout);
    if (code != 0)
      std::snprintf(error, errorBytes,
                    "the program's all-gather (moert_bootstrap.allgather) "
                    "returned %d",
                    code);
    return code;
  };
  out = createCallbackBootstrap(given->rank, given->size, std::move(callbacks));
  return Status::ok();
}

Status moe::rt::readOptions(const moert_options *given, ContextOptions &out) {
  if (!given)
    return Status::ok();
  // The fields that all versions have.
  constexpr size_t oldest = offsetof(moert_options, device);
  if (given->struct_size < oldest)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "moert_options has %zu bytes, this runtime expects %zu",
                     given->struct_size, sizeof(moert_options));
  // Whether the caller's version has the field that ends there.
  auto has = [&](size_t end) { return given->struct_size >= end; };
  if (has(offsetof(moert_options, device) + sizeof(given->device)))
    out.device = given->device;
  if (has(offsetof(moert_options, nccl_lent) + sizeof(given->nccl_lent)))
    out.lent = {given->nccl_lent != 0, given->nccl_comm};
  if (given->timeout_seconds != 0)
    out.timeoutSeconds = given->timeout_seconds;
  if (given->symm_reserve_bytes)
    out.symmReserveBytes = given->symm_reserve_bytes;
  if (given->backend)
    out.backend = given->backend;
  return out.check();
}

Status moe::rt::createContext(std::unique_ptr<Bootstrap> bootstrap,
                              const moert_options *options,
                              moert_context **out) {
  ContextOptions chosen;
  if (Status s = readOptions(options, chosen); !s.isOk())
    return s;
  auto context = Context::create(std::move(bootstrap), chosen);
  if (!context.isOk())
    return context.status();
  *out = new moert_context{context.take(), {}};
  return Status::ok();
}

moert_code moert_context_create(const moert_bootstrap *bootstrap,
                                const moert_options *options,
                                moert_context **out) {
  return guarded([&]() -> Status {
    if (!out)
      return missing("out");
    *out = nullptr;
    std::unique_ptr<Bootstrap> boot;
    if (Status s = readBootstrap(bootstrap, boot); !s.isOk())
      return s;
    return createContext(std::move(boot), options, out);
  });
}

void moert_context_destroy(moert_context *context) { delete context; }

int32_t moert_context_rank(const moert_context *context) {
  return context ? context->context->rank() : -1;
}

int32_t moert_context_size(const moert_context *context) {
  return context ? context->context->size() : 0;
}

DLDevice moert_context_device(const moert_context *context) {
  return context ? context->context->device().device() : DLDevice{kDLCPU, 0};
}

const char *moert_context_device_name(const moert_context *context) {
  return context ? context->context->device().deviceName() : "";
}

const char *moert_context_target(const moert_context *context) {
  return context ? context->context->device().target() : "";
}

int64_t moert_context_num_graphs(const moert_context *context) {
  return context ? context->context->numGraphs() : 0;
}

int32_t moert_context_failed_rank(const moert_context *context) {
  return context ? context->context->originRank() : -1;
}

moert_code moert_context_reset(moert_context *context) {
  return guarded(
      [&] { return context ? context->context->reset() : missing("context"); });
}

moert_code moert_context_fail(moert_context *context, moert_code code,
                              const char *message) {
  return guarded([&]() -> Status {
    if (!context)
      return missing("context");
    if (code <= MOERT_OK || code > MOERT_LAST_CODE)
      return Status(MOERT_INVALID_ARGUMENT, "no code of an error");
    if (Status s = context->context->refuseIfForked(); !s.isOk())
      return s;
    Status told = context->context->fail(Status(code, message ? message : ""));
    (void)told;
    return Status::ok();
  });
}

//===----------------------------------------------------------------------===//
// Artifacts and entries
//===----------------------------------------------------------------------===//

/// What `load` of a context loads, as a handle.
template <typename Load>
static moert_code loadArtifact(moert_context *context, moert_artifact **out,
                               Load load) {
  return guarded([&]() -> Status {
    *out = nullptr;
    auto handle = std::make_unique<moert_artifact>();
    auto loaded = load(*context->context);
    if (!loaded.isOk())
      return loaded.status();
    handle->owner = context;
    handle->artifact = *loaded;
    for (Entry &entry : (*loaded)->entries())
      handle->entries.push_back({context->context.get(), &entry});
    *out = handle.get();
    context->artifacts.push_back(std::move(handle));
    return Status::ok();
  });
}

moert_code moert_artifact_load(moert_context *context, const char *path,
                               moert_artifact **out) {
  if (!context || !path || !out)
    return guarded([&] {
      return missing(!context ? "context" : !path ? "path" : "out");
    });
  return loadArtifact(context, out,
                      [&](Context &loader) { return loader.load(path, path); });
}

moert_code moert_artifact_load_bytes(moert_context *context, const void *data,
                                     size_t size, const char *name,
                                     moert_artifact **out) {
  if (!context || !data || !out)
    return guarded([&] {
      return missing(!context ? "context" : !data ? "data" : "out");
    });
  return loadArtifact(context, out, [&](Context &loader) {
    return loader.loadBytes({static_cast<const char *>(data), size},
                            name && *name ? name : "artifact in memory");
  });
}

moert_code moert_artifact_unload(moert_artifact *artifact) {
  return guarded([&]() -> Status {
    if (!artifact)
      return missing("artifact");
    moert_context *owner = artifact->owner;
    if (Status s = owner->context->refuseIfForked(); !s.isOk())
      return s;
    Status status = owner->context->unload(artifact->artifact);
    auto isIt = [&](auto &held) { return held.get() == artifact; };
    owner->artifacts.erase(
        std::find_if(owner->artifacts.begin(), owner->artifacts.end(), isIt));
    return status;
  });
}

const char *moert_artifact_manifest(const moert_artifact *artifact) {
  return artifact ? artifact->artifact->manifestText().c_str() : "";
}

size_t moert_artifact_num_entries(const moert_artifact *artifact) {
  return artifact ? artifact->entries.size() : 0;
}

moert_entry *moert_artifact_entry_at(moert_artifact *artifact, size_t index) {
  if (!artifact || index >= artifact->entries.size())
    return nullptr;
  return &artifact->entries[index];
}

moert_code moert_artifact_entry(moert_artifact *artifact, const char *name,
                                moert_entry **out) {
  return guarded([&]() -> Status {
    if (!artifact || !out)
      return missing(!artifact ? "artifact" : "out");
    *out = nullptr;
    auto entry = artifact->artifact->entry(name ? name : "");
    if (!entry.isOk())
      return entry.status();
    *out = &artifact->entries[*entry - artifact->artifact->entries().data()];
    return Status::ok();
  });
}

/// What a call and a launch have in common.
template <typename Run>
static moert_code runEntry(moert_entry *entry, const DLTensor *const *inputs,
                           size_t num_inputs, DLManagedTensor **outputs,
                           size_t num_outputs, Run run) {
  return guarded([&]() -> Status {
    if (!entry || (num_inputs && !inputs) || (num_outputs && !outputs))
      return missing(!entry ? "entry" : !inputs ? "inputs" : "outputs");
    size_t expected = entry->entry->description->results.size();
    if (num_outputs != expected)
      return makeError(MOERT_INVALID_ARGUMENT,
                       "entry '%s' has %zu results, but there is room for %zu",
                       moert_entry_name(entry), expected, num_outputs);
    std::vector<DLManagedTensor *> results;
    Status status = run(*entry->context, *entry->entry,
                        {inputs, inputs + num_inputs}, results);
    for (size_t i = 0; i < num_outputs; ++i)
      outputs[i] = status.isOk() ? results[i] : nullptr;
    return status;
  });
}

using TensorPointers = std::vector<const DLTensor *>;
using Results = std::vector<DLManagedTensor *>;

moert_code moert_entry_call(moert_entry *entry, const DLTensor *const *inputs,
                            size_t num_inputs, DLManagedTensor **outputs,
                            size_t num_outputs) {
  return runEntry(entry, inputs, num_inputs, outputs, num_outputs,
                  [](Context &context, Entry &callee, const TensorPointers &in,
                     Results &out) { return context.call(callee, in, out); });
}

moert_code moert_entry_launch(moert_entry *entry, const DLTensor *const *inputs,
                              size_t num_inputs, DLManagedTensor **outputs,
                              size_t num_outputs, void *stream) {
  return runEntry(entry, inputs, num_inputs, outputs, num_outputs,
                  [stream](Context &context, Entry &callee,
                           const TensorPointers &in, Results &out) {
                    return context.launch(callee, in, out, stream);
                  });
}

moert_code moert_context_synchronize(moert_context *context, void *stream) {
  return guarded([&] {
    return context ? context->context->synchronize(stream) : missing("context");
  });
}

moert_code moert_context_check(moert_context *context) {
  return guarded(
      [&] { return context ? context->context->check() : missing("context"); });
}
