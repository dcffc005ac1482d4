//===- FakeRuntime.cpp - A runtime of one rank for tests ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeRuntime.h"

#include "moe-runtime/ArtifactABI.h"

#include <algorithm>
#include <csetjmp>
#include <cstdlib>

using namespace moe::test;

FakeRuntime *moe::test::runtime = nullptr;

static std::jmp_buf endOfEntry;

bool FakeRuntime::call(const std::function<void()> &entry) {
  if (setjmp(endOfEntry))
    return false;
  entry();
  return true;
}

extern "C" {

int64_t moert_rank(void) { return 0; }
void *moert_symm_base(void) { return runtime->workspace; }
int64_t moert_symm_stride(void) { return 1 << 20; }
void *moert_symm_result(int64_t, int64_t offset, int64_t) {
  return static_cast<char *>(moert_symm_base()) + offset;
}

void moert_collective_begin(const char *op, const char *location,
                            int64_t site) {
  runtime->events.push_back(std::string(op) + " at " + location + " site " +
                            std::to_string(site));
}
void moert_phase(const char *phase) { runtime->events.push_back(phase); }
void moert_collective_end(void) { runtime->events.push_back("end"); }

void moert_wait(const uint64_t *flag, uint64_t value, int64_t peer) {
  // The only rank has signalled before it waits, or never will.
  if (*flag < value)
    moert_fail(MOERT_TIMEOUT, "flag", static_cast<int64_t>(value), INT64_MAX,
               static_cast<int64_t>(*flag), peer, -1, -1);
}

void moert_fail(int64_t code, const char *what, int64_t least, int64_t most,
                int64_t seen, int64_t peer, int64_t token, int64_t slot) {
  runtime->failures.push_back(
      {code, what, least, most, seen, peer, token, slot});
  std::longjmp(endOfEntry, 1);
}

void *moert_alloc(int64_t bytes, int64_t alignment) {
  runtime->smallestAlignment = std::min(runtime->smallestAlignment, alignment);
  // Never the same pointer for two live allocations, even of size 0.
  void *ptr = nullptr;
  if (posix_memalign(&ptr, alignment, std::max<int64_t>(bytes, 1)))
    std::abort();
  runtime->live[ptr] = bytes;
  return ptr;
}

void *moert_alloc_result(int64_t, int64_t bytes, int64_t alignment) {
  return moert_alloc(bytes, alignment);
}

void moert_free(void *ptr) {
  if (!ptr)
    return;
  if (!runtime->live.erase(ptr)) {
    ++runtime->badFrees;
    return;
  }
  std::free(ptr);
}

} // extern "C"
