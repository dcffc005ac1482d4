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

/// A communicator that the runtime has made, and destroys; or one that the
/// caller lends, which is only used.
class Communicator {
public:
  /// Collective: all ranks have one afterwards, or none has.
  static Expected<std::unique_ptr<Communicator>>
  create(const Library &library, const CommunicatorGroup &group);
  /// Collective. `handle` is an ncclComm_t of the same ranks and GPUs. It
  /// outlives the object.
  static Expected<std::unique_ptr<Communicator>>
  borrow(const Library &library, const CommunicatorGroup &group, void *handle);
  ~Communicator();
  Communicator(const Communicator &) = delete;

  /// Null once it has been given up.
  CommHandle get() const { return handle; }
  bool isBorrowed() const { return borrowed; }
  /// A call was left before it had ended, or has failed.
  bool hasGivenUp() const { return hasFailed; }

  /// Collective. Asks `look` how far this rank is until all are done, or one
  /// has failed: then all leave together, where NCCL would wait for it. The
  /// error of a rank that is not done in time says that it has not connected.
  Status completeTogether(const Look &look, const char *what);
  /// Collective, of one that the runtime has made and that has connected all
  /// ranks. Calls wait for no rank any more, so from here on they are made
  /// by a child of the communicator that carries them out itself.
  Status makeBlocking();

  /// Makes a call that may block on a thread that can be left behind, so it has
  /// to own what it uses. This object outlives the answer.
  Look onThread(std::function<Result()> call);
  /// Ok once NCCL has queued the work of a call: of one that returned `result`,
  /// and does not wait where that is ncclInProgress, or of one on a thread.
  Status finish(Result result, const char *what, ExchangeGuard &guard);
  Status finish(const Look &look, const char *what, ExchangeGuard &guard);
  /// What NCCL has met outside of calls. Never blocks.
  Status poll();
  /// Ends what is under way on the GPU, and is of no more use afterwards. One
  /// that is borrowed stays as it is, whatever runs on it.
  void abandon();

private:
  Communicator(const Library &library, const CommunicatorGroup &group,
               bool borrowed);
  Status makeId(UniqueId &id);
  Status connect(const UniqueId &id);
  Status timeOut() const;
  Status checkLoan() const;
  Result state() const;
  Look follow(Result result) const;
  Status error(Result result, const char *what) const;
  bool finalize();
  bool endChild();

  const Library &library;
  CommunicatorGroup group;
  const bool borrowed;
  const int rank;
  /// In a child that this one forks NCCL does not work.
  const pid_t process;
  /// The one that calls are made by, and its parent, where that is another one.
  CommHandle handle = nullptr, parent = nullptr;
  /// Where NCCL puts the child, until it is done or its parent is aborted.
  std::shared_ptr<CommHandle> child;
  /// It met an error, so what it still has to do will not end by itself.
  bool hasFailed = false;
};

} // namespace moe::rt::nccl

#endif // MOE_RUNTIME_LIB_NCCL_COMMUNICATOR_H
