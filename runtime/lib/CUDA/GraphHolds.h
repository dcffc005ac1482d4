//===- GraphHolds.h - graphs that have captured launches --------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CUDA_GRAPHHOLDS_H
#define MOE_RUNTIME_LIB_CUDA_GRAPHHOLDS_H

#include "Gpu.h"

#include <atomic>
#include <memory>

namespace moe::rt::cuda {

/// Counts the graphs that have captured launches. Nobody is asked before a
/// graph is replayed, so what its launches use stays for as long as it can be.
/// An object of the driver's that the graph owns tells when that ends: it goes
/// with the last of the graph, what was instantiated of it, and their runs.
class GraphHolds {
public:
  /// The capture of this number, into `graph`, has a launch.
  Status add(const Gpu &gpu, GraphHandle graph, uint64_t capture);
  int64_t count() const { return *numAlive; }

private:
  /// The driver's objects may outlive this one.
  std::shared_ptr<std::atomic<int64_t>> numAlive =
      std::make_shared<std::atomic<int64_t>>(0);
  uint64_t lastCapture = 0;
};

} // namespace moe::rt::cuda

#endif // MOE_RUNTIME_LIB_CUDA_GRAPHHOLDS_H
