//===- Communicator.h - a communicator of NCCL ------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_NCCL_COMMUNICATOR_H
#define MOE_RUNTIME_LIB_NCCL_COMMUNICATOR_H

#include "CUDA/Gpu.h"
#include "Library.h"
#include "moe-runtime/Exchanger.h"

#include <functional>
#include <memory>

namespace moe::rt::nccl {

/// Whose communicator it is to be.
struct CommunicatorGroup {
  Bootstrap &bootstrap;
  const HostMap &hosts;
  std::shared_ptr<cuda::Gpu> gpu;
  double setupSeconds; ///< bounds the set-up
  double endSeconds;   ///< and what it takes to be rid of the communicator
};

/// How far a call is: ncclInProgress until it has been carried out.
using Look = std::function<Result()>;

/// A communicator, whoever has made it.
class Communicator {
public:
  virtual ~Communicator() = default;
  Communicator(const Communicator &) = delete;

  /// The one that calls are made by. Null once it has been given up.
  CommHandle get() const { return handle; }
  virtual bool isLent() const = 0;
  /// A call was left before it had ended, or has failed.
  bool hasGivenUp() const { return hasFailed; }

  /// Collective. Asks `look` how far this rank is until all are done, or one
  /// has failed: then all leave together, where NCCL would wait for it. The
  /// error of a rank that is not done in time says that it has not connected.
  Status completeTogether(const Look &look, const char *what);
  /// Collective, of one that has connected all ranks. Calls wait for no rank
  /// any more, so from here on they are made by a child of the communicator
  /// that carries them out itself. One that is lent stays as it is.
  virtual Status makeBlocking() = 0;

  /// Makes a call that may block on a thread that can be left behind, so it has
  /// to own what it uses. This object outlives the answer.
  Look onThread(std::function<Result()> call);
  /// Ok once NCCL has queued the work of a call: of one that returned `result`,
  /// and does not wait where that is ncclInProgress, or of one on a thread.
  Status finish(Result result, const char *what, ExchangeGuard &guard);
  Status finish(const Look &look, const char *what, ExchangeGuard &guard);
  /// What NCCL has met outside of calls. Never blocks.
  Status poll();
  /// Ends what is under way on the GPU, unless it is lent, and is of no more
  /// use afterwards.
  virtual void abandon() = 0;

protected:
  Communicator(const Library &library, const CommunicatorGroup &group);
  Result state() const;
  Look follow(Result result) const;
  Status error(Result result, const char *what) const;
  /// What `look` says when the call has ended, or when the time is over.
  static Result waitFor(const Look &look, double seconds);

  const Library &library;
  CommunicatorGroup group;
  const int rank;
  CommHandle handle = nullptr;
  /// It met an error, so what it still has to do will not end by itself.
  bool hasFailed = false;

private:
  Status timeOut() const;
};

} // namespace moe::rt::nccl

#endif // MOE_RUNTIME_LIB_NCCL_COMMUNICATOR_H
