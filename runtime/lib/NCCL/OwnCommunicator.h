//===- OwnCommunicator.h - one that the runtime makes -----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_NCCL_OWNCOMMUNICATOR_H
#define MOE_RUNTIME_LIB_NCCL_OWNCOMMUNICATOR_H

#include "Communicator.h"

#include <sys/types.h>

namespace moe::rt::nccl {

/// A communicator that the runtime has made, and destroys.
class OwnCommunicator final : public Communicator {
public:
  /// Collective: all ranks have one afterwards, or none has.
  static Expected<std::unique_ptr<Communicator>>
  create(const Library &library, const CommunicatorGroup &group);
  ~OwnCommunicator() override;

  bool isLent() const override { return false; }
  Status makeBlocking() override;
  void abandon() override;

private:
  OwnCommunicator(const Library &library, const CommunicatorGroup &group);
  Status makeId(UniqueId &id);
  Status connect(const UniqueId &id);
  bool finalize();
  bool endChild();

  /// In a child that this one forks NCCL does not work.
  const pid_t process;
  /// The parent of the one that calls are made by, where that is a child.
  CommHandle parent = nullptr;
  /// Where NCCL puts the child, until it is done or its parent is aborted.
  std::shared_ptr<CommHandle> child;
};

} // namespace moe::rt::nccl

#endif // MOE_RUNTIME_LIB_NCCL_OWNCOMMUNICATOR_H
