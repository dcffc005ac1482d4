//===- CApiMemory.cpp - copies, symmetric memory and timings in C ---------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiHandles.h"

using namespace moe::rt;

moert_code moert_tensor_copy_to_host(moert_context *context,
                                     const DLTensor *source, void *destination,
                                     size_t bytes) {
  return guarded([&] {
    if (!context || !source || (bytes && !destination))
      return missing(!context ? "context" : !source ? "source" : "destination");
    return context->context->copyToHost(*source, destination, bytes);
  });
}

moert_code moert_tensor_copy_from_host(moert_context *context,
                                       const DLTensor *destination,
                                       const void *source, size_t bytes) {
  return guarded([&] {
    if (!context || !destination || (bytes && !source))
      return missing(!context       ? "context"
                     : !destination ? "destination"
                                    : "source");
    return context->context->copyFromHost(*destination, source, bytes);
  });
}

//===----------------------------------------------------------------------===//
// Timings and symmetric memory
//===----------------------------------------------------------------------===//

size_t moert_context_num_timings(const moert_context *context) {
  return context ? context->context->timings().rows().size() : 0;
}

moert_code moert_context_timing(const moert_context *context, size_t index,
                                moert_timing *out) {
  return guarded([&]() -> Status {
    if (!context || !out)
      return missing(!context ? "context" : "out");
    const std::vector<Timings::Row> &rows = context->context->timings().rows();
    if (index >= rows.size())
      return makeError(MOERT_INVALID_ARGUMENT, "index %zu of %zu", index,
                       rows.size());
    const Timings::Row &row = rows[index];
    *out = {row.op.c_str(), row.location.c_str(), row.phase.c_str(), row.calls,
            row.ns};
    return Status::ok();
  });
}

void moert_context_clear_timings(moert_context *context) {
  if (context)
    context->context->timings().clear();
}

moert_code moert_symm_alloc(moert_context *context, size_t bytes, void **out) {
  return guarded([&]() -> Status {
    if (!context || !out)
      return missing(!context ? "context" : "out");
    *out = nullptr;
    auto block = context->context->symmAlloc(bytes);
    if (!block.isOk())
      return block.status();
    *out = *block;
    return Status::ok();
  });
}

moert_code moert_symm_free(moert_context *context, void *address) {
  return guarded([&] {
    return context ? context->context->symmFree(address) : missing("context");
  });
}

void *moert_symm_peer(const moert_context *context, void *address,
                      int32_t rank) {
  if (!context || !address || rank < 0 || rank >= context->context->size() ||
      !context->context->hosts().isOneHost())
    return nullptr;
  return context->context->heap().peer(address, rank);
}
