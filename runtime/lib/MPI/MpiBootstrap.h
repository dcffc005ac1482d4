//===- MpiBootstrap.h - a bootstrap over MPI's messages ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_MPI_MPIBOOTSTRAP_H
#define MOE_RUNTIME_LIB_MPI_MPIBOOTSTRAP_H

#include "Communicator.h"
#include "RollCall.h"
#include "moe-runtime/Bootstrap.h"

namespace moe::rt::mpi {

/// All-gathers take ceil(log2 R) messages of each rank (DoublingGather.h).
class MpiBootstrap : public Bootstrap {
public:
  explicit MpiBootstrap(std::unique_ptr<Communicator> communicator);

  int rank() const override { return communicator->rank(); }
  int size() const override { return communicator->size(); }
  Status allGather(const void *in, size_t bytes, void *out) override;
  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override;

  /// The group's own communicator, to be copied.
  const Communicator &comm() const { return *communicator; }

private:
  Status gatherBlocks(std::vector<char> &blocks, size_t blockBytes,
                      Messenger::Watch &watch);

  std::unique_ptr<Communicator> communicator;
  Messenger messenger;
  RollCall rollCall;
  uint64_t sequence = 0;
};

} // namespace moe::rt::mpi

#endif // MOE_RUNTIME_LIB_MPI_MPIBOOTSTRAP_H
