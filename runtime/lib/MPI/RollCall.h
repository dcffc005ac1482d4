//===- RollCall.h - who waits in vain, and for whom -------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_MPI_ROLLCALL_H
#define MOE_RUNTIME_LIB_MPI_ROLLCALL_H

#include "Communicator.h"

#include <cstdint>

namespace moe::rt::mpi {

/// In an all-gather of few messages, a rank waits for some that have come, but
/// wait themselves. So whoever runs out of time tells all that it is there, and
/// whoever hears that does the same: those that are not heard are missing.
class RollCall {
public:
  explicit RollCall(Communicator &communicator);

  /// Whether some rank has run out of time in step `sequence`, or before it.
  bool isCalled(uint64_t sequence);
  /// Tells all that this rank is there, in step `sequence`, and waits for the
  /// others to do so. Returns those that do not.
  std::vector<int> findAbsent(uint64_t sequence);
  /// Calls in `sequence`, and before it, are of no more interest.
  void end(uint64_t sequence) { ended = sequence; }

private:
  void listen();
  void call(uint64_t sequence);

  Communicator &communicator;
  std::vector<uint64_t> heard; ///< of each rank, the last step it called in
  uint64_t ended = 0;          ///< the last step that has failed
};

} // namespace moe::rt::mpi

#endif // MOE_RUNTIME_LIB_MPI_ROLLCALL_H
