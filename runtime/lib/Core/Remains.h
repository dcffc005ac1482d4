//===- Remains.h - what graphs use of contexts that are gone ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_REMAINS_H
#define MOE_RUNTIME_LIB_CORE_REMAINS_H

#include "moe-runtime/Context.h"

namespace moe::rt {

/// The parts of a context that captured launches use: memory, kernels, and the
/// constants of artifacts. Destroyed from the last to the first.
struct Remains {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<SymmetricHeap> heap;
  std::vector<std::unique_ptr<Artifact>> artifacts;
  std::shared_ptr<Memory> arena;
};

/// Keeps them until no graph of theirs is left. Those of a process that ends
/// go with it.
void keepRemains(Remains remains);

/// Frees what no graph uses any more. The end of a graph is told on a thread of
/// the driver's where nothing can be freed, so contexts that begin and end do
/// it.
void sweepRemains();

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_REMAINS_H
