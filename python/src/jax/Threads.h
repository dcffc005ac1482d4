//===- Threads.h - threads that are kept for the next task ------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_JAX_THREADS_H
#define MOE_PYTHON_JAX_THREADS_H

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace moe::py {

/// Runs each task at once: on a thread that has nothing to do, or on a new one.
/// Tasks wait for each other, so a pool of a fixed size would deadlock.
class Threads {
public:
  /// Those of this process. They live as long as it does.
  static Threads &get();

  /// False when no thread can be started; the task has not run then.
  bool run(std::function<void()> task);

private:
  void serve();

  std::mutex mutex;
  std::condition_variable hasTask;
  std::deque<std::function<void()>> tasks;
  size_t numIdle = 0;
};

} // namespace moe::py

#endif // MOE_PYTHON_JAX_THREADS_H
