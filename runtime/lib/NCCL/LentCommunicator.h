//===- LentCommunicator.h - one that the caller lends -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_NCCL_LENTCOMMUNICATOR_H
#define MOE_RUNTIME_LIB_NCCL_LENTCOMMUNICATOR_H

#include "Communicator.h"

namespace moe::rt::nccl {

/// A communicator that the caller lends, which is only used: it stays as it is,
/// whatever runs on it.
class LentCommunicator final : public Communicator {
public:
  /// Collective. `handle` is an ncclComm_t of the same ranks and GPUs. It
  /// outlives the object.
  static Expected<std::unique_ptr<Communicator>>
  borrow(const Library &library, const CommunicatorGroup &group, void *handle);

  bool isLent() const override { return true; }
  Status makeBlocking() override { return Status::ok(); }
  void abandon() override { hasFailed = true; }

private:
  using Communicator::Communicator;
  Status check() const;
};

} // namespace moe::rt::nccl

#endif // MOE_RUNTIME_LIB_NCCL_LENTCOMMUNICATOR_H
