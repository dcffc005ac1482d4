//===- Streams.h - streams and what is captured of them ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_TESTS_DRIVER_STREAMS_H
#define MOE_RUNTIME_TESTS_DRIVER_STREAMS_H

#include "StandIn.h"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace moe::standin {

using Task = std::function<void()>;

/// A graph, or one that can be launched: a list of tasks, and what it owns.
struct Graph {
  std::vector<Task> tasks;
  std::vector<std::shared_ptr<void>> objects;
};

struct Capture {
  unsigned long long id;
  int mode;
  std::thread::id thread;
  bool isInvalid = false;
  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
};

/// Whether a call of this thread that is not safe is one that `capture`
/// forbids.
bool forbids(const Capture &capture);

struct Stream {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Task> tasks; ///< the first one may be running
  uint64_t numAppended = 0, numDone = 0;
  bool isClosing = false, hasThread = false;
  std::unique_ptr<Capture> capture;
};

/// Null is the legacy stream.
std::shared_ptr<Stream> find(StreamHandle handle);
/// To the end of the stream, or of the graph that it is being captured into.
Result append(const std::shared_ptr<Stream> &stream, std::vector<Task> tasks);

} // namespace moe::standin

#endif // MOE_RUNTIME_TESTS_DRIVER_STREAMS_H
