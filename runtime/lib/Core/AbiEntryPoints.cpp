//===- AbiEntryPoints.cpp - the functions artifacts import ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// None of these functions holds an object with a destructor when it leaves
/// by unwind(), which is a longjmp to Context::invoke. No exception passes
/// through generated code.
///
//===----------------------------------------------------------------------===//

#include "FailedCheck.h"
#include "moe-runtime/Context.h"
#include "moe-runtime/Exchanger.h"

using namespace moe::rt;

#define MOERT_EXPORT extern "C" __attribute__((visibility("default")))

/// Runs `body`, and ends the entry when it returns false. The one thing that
/// can throw is the allocation of a message or a timing row.
template <typename Body>
static bool runGuarded(Context *context, Body body) noexcept {
  try {
    return body();
  } catch (...) {
    context->stopForMemory();
    return false;
  }
}

MOERT_EXPORT int64_t moert_rank(void) { return Context::current()->rank(); }

MOERT_EXPORT void *moert_symm_base(void) {
  return Context::current()->runningArtifact()->workspace;
}

MOERT_EXPORT int64_t moert_symm_stride(void) {
  return Context::current()->heap().stride();
}

MOERT_EXPORT void *moert_symm_result(int64_t index, int64_t offset,
                                     int64_t bytes) {
  return Context::current()->symmetricResult(index, offset, bytes);
}

MOERT_EXPORT void moert_collective_begin(const char *op, const char *location,
                                         int64_t site) {
  Context *context = Context::current();
  if (!runGuarded(context,
                  [=] { return context->beginCollective(op, location, site); }))
    context->unwind();
}

MOERT_EXPORT void moert_phase(const char *phase) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] {
        context->phase(phase);
        return true;
      }))
    context->unwind();
}

MOERT_EXPORT void moert_collective_end(void) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] { return context->endCollective(); }))
    context->unwind();
}

MOERT_EXPORT void moert_wait(const uint64_t *flag, uint64_t value,
                             int64_t peer) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] { return context->wait(flag, value, peer); }))
    context->unwind();
}

MOERT_EXPORT void moert_fail(int64_t code, const char *what, int64_t least,
                             int64_t most, int64_t seen, int64_t peer,
                             int64_t token, int64_t slot) {
  Context *context = Context::current();
  runGuarded(context, [=] {
    // A failure is never fine.
    moert_code failure = code == MOERT_OK ? MOERT_INTERNAL : toCode(code);
    context->failHere({failure, what, least, most, seen, peer, token, slot});
    return false;
  });
  context->unwind();
}

MOERT_EXPORT void moert_assertion_failed(const char *location,
                                         const char *text) {
  Context *context = Context::current();
  runGuarded(context, [=] {
    context->failAssertion(location, text);
    return false;
  });
  context->unwind();
}

MOERT_EXPORT void *moert_alloc(int64_t bytes, int64_t alignment) {
  Context *context = Context::current();
  void *ptr = nullptr;
  if (!runGuarded(context, [context, bytes, alignment, &ptr] {
        return context->allocate(bytes, alignment, ptr);
      }))
    context->unwind();
  return ptr;
}

MOERT_EXPORT void *moert_alloc_result(int64_t index, int64_t bytes,
                                      int64_t alignment) {
  Context *context = Context::current();
  void *ptr = nullptr;
  if (!runGuarded(context, [context, index, bytes, alignment, &ptr] {
        return context->allocateResult(index, bytes, alignment, ptr);
      }))
    context->unwind();
  return ptr;
}

MOERT_EXPORT void moert_free(void *ptr) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] { return context->free(ptr); }))
    context->unwind();
}

//===----------------------------------------------------------------------===//
// For artifacts that exchange messages
//===----------------------------------------------------------------------===//

MOERT_EXPORT void moert_all_gather(const void *send, void *recv,
                                   int64_t bytes) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] {
        return context->spread(Context::Spread::Gather, send, recv, bytes);
      }))
    context->unwind();
}

MOERT_EXPORT void moert_all_to_all(const void *send, void *recv,
                                   int64_t bytes) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] {
        return context->spread(Context::Spread::ToAll, send, recv, bytes);
      }))
    context->unwind();
}

MOERT_EXPORT void moert_exchange_begin(void) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] { return context->beginExchange(); }))
    context->unwind();
}

MOERT_EXPORT void moert_exchange_rows(const void *send,
                                      const int32_t *send_starts,
                                      const int32_t *send_counts, void *recv,
                                      const int32_t *recv_starts,
                                      const int32_t *recv_counts,
                                      int64_t row_bytes) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] {
        return context->exchangeRows(
            {static_cast<const char *>(send), send_starts, send_counts,
             static_cast<char *>(recv), recv_starts, recv_counts,
             static_cast<size_t>(row_bytes)});
      }))
    context->unwind();
}

MOERT_EXPORT void moert_exchange_end(void) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] { return context->endExchange(); }))
    context->unwind();
}

//===----------------------------------------------------------------------===//
// For artifacts that use a device
//===----------------------------------------------------------------------===//

MOERT_EXPORT void moert_launch(const char *kernel, int64_t blocks,
                               int64_t threads, int64_t shared_bytes,
                               void **params) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] {
        return context->launchKernel(
            {kernel, blocks, threads, shared_bytes, params});
      }))
    context->unwind();
}

MOERT_EXPORT void moert_copy(void *dst, const void *src, int64_t bytes) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] { return context->copy(dst, src, bytes); }))
    context->unwind();
}

MOERT_EXPORT void moert_read(void *dst, const void *src, int64_t bytes) {
  Context *context = Context::current();
  if (!runGuarded(context, [=] { return context->read(dst, src, bytes); }))
    context->unwind();
}

MOERT_EXPORT int64_t moert_table_end(const int32_t *starts,
                                     const int32_t *counts, int64_t ranks,
                                     int64_t limit) {
  int64_t end = 0;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    int64_t start = starts[rank], count = counts[rank];
    if (start < 0 || count < 0)
      moert_fail(MOERT_INVALID_COUNT,
                 "'peer_rows', which are those of a dispatch whose messages "
                 "are exact",
                 0, limit, std::min(start, count), rank, -1, -1);
    if (start + count > limit)
      moert_fail(MOERT_INVALID_COUNT,
                 "end of the rows that 'peer_rows' name for a rank", 0, limit,
                 start + count, rank, -1, -1);
    end = std::max(end, start + count);
  }
  return end;
}

MOERT_EXPORT int64_t moert_timeout_ns(void) {
  return Context::current()->timeoutNs();
}

MOERT_EXPORT moert_device_record *moert_device_status(void) {
  return Context::current()->deviceRecord();
}
