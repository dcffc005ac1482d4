//===- Context.h - a rank's membership in a group ---------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_RUNTIME_CONTEXT_H
#define MOE_PYTHON_RUNTIME_CONTEXT_H

#include "../Gil.h"
#include "Error.h"

#include <atomic>
#include <memory>
#include <mutex>

namespace moe::py {

/// Owns a moert_context. Memory of the context that Python still sees keeps it
/// mapped after close(), so that no array points to nowhere.
class Context : public std::enable_shared_from_this<Context> {
public:
  Context(moert_context *handle, nanobind::object allGather);
  ~Context();
  Context(const Context &) = delete;

  /// The handle; raises when the group is closed. `what` is what for.
  moert_context *open(const char *what) const;
  int32_t rank() const { return myRank; }
  int32_t size() const { return groupSize; }
  DLDevice device() const { return where; }
  bool isOnDevice() const { return where.device_type == kDLCUDA; }
  bool isClosed() const { return closed; }
  /// Whether a call on it has begun and not returned, on any thread.
  bool isRunning() const { return running > 0; }

  void close();

  /// For threads without the GIL, while a Running exists or a call waits.
  bool hasFailed();
  void tellFailure(moert_code code, const std::string &message);

  /// For callers whose threads may come at the same time, since a context runs
  /// one call at a time. Whatever is loaded on the context shares it.
  std::mutex oneCall;

  /// A view of memory that goes with the context.
  void addView() { ++views; }
  void dropView();

  /// Runs `function(handle)` without the GIL, and raises its error.
  template <typename Function> void run(const char *what, Function function) {
    moert_context *context = open(what);
    Running guard(*this);
    moert_code code;
    {
      WithoutGil released;
      code = function(context);
    }
    check(code);
  }

  /// While one exists, close() is refused.
  class Running {
  public:
    explicit Running(Context &context) : context(context) { ++context.running; }
    ~Running() { --context.running; }
    Running(const Running &) = delete;

  private:
    Context &context;
  };

private:
  void destroy();

  moert_context *handle;
  nanobind::object allGather; ///< kept for as long as the handle
  int32_t myRank, groupSize;
  DLDevice where;
  std::atomic<bool> closed{false};
  int64_t graphsAtEnd = 0; ///< that had launches when it was closed
  std::atomic<int> views{0}, running{0};
};

using ContextRef = std::shared_ptr<Context>;

void bindContext(nanobind::module_ &module);

} // namespace moe::py

#endif // MOE_PYTHON_RUNTIME_CONTEXT_H
