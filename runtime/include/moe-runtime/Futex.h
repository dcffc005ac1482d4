//===- Futex.h - sleep on a word of memory ----------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// For words in memory that several processes share.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_FUTEX_H
#define MOE_RUNTIME_FUTEX_H

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace moe::rt {

static_assert(sizeof(std::atomic<uint32_t>) == 4);

/// Sleeps while the word is `expected`. False when the time was up. May end
/// earlier.
inline bool futexWait(std::atomic<uint32_t> &word, uint32_t expected,
                      int64_t timeoutNs) {
  timespec timeout{static_cast<time_t>(timeoutNs / 1000000000),
                   static_cast<long>(timeoutNs % 1000000000)};
  return syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT,
                 expected, &timeout, nullptr, 0) == 0 ||
         errno != ETIMEDOUT;
}

/// Changes the word and wakes who sleeps on it.
inline void futexWake(std::atomic<uint32_t> &word) {
  word.fetch_add(1, std::memory_order_release);
  (void)syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE,
                INT_MAX, nullptr, nullptr, 0);
}

} // namespace moe::rt

#endif // MOE_RUNTIME_FUTEX_H
