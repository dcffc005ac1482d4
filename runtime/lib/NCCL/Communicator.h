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

  /// Ok once NCCL has queued the work of the call that returned `result`, which
  /// does not wait where its result is ncclInProgress.
  Status finish(Result result, const char *what, ExchangeGuard &guard);
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
  Status error(Result result, const char *what) const;
  bool finalize();

  const Library &library;
  CommunicatorGroup group;
  const bool borrowed;
  const int rank;
  /// In a child that this one forks NCCL does not work.
  const pid_t process;
  CommHandle handle = nullptr;
  /// It met an error, so what it still has to do will not end by itself.
  bool hasFailed = false;
};

} // namespace moe::rt::nccl

#endif // MOE_RUNTIME_LIB_NCCL_COMMUNICATOR_H
