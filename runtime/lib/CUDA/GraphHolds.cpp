//===- GraphHolds.cpp - graphs that have captured launches ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GraphHolds.h"

using namespace moe::rt;
using namespace moe::rt::cuda;

namespace {
using Count = std::shared_ptr<std::atomic<int64_t>>;
} // namespace

/// Called by the driver, on whichever thread; it allows no call of its own
/// here.
static void dropHold(void *held) {
  std::unique_ptr<Count> count(static_cast<Count *>(held));
  --**count;
}

Status GraphHolds::add(const Gpu &gpu, GraphHandle graph, uint64_t capture) {
  if (capture == lastCapture)
    return Status::ok();
  const Driver &api = gpu.driver();
  RelaxedCapture relaxed(api);
  auto held = std::make_unique<Count>(numAlive);
  UserObjectHandle object = nullptr;
  if (Status s = gpu.check(api.userObjectCreate(&object, held.get(), dropHold,
                                                /*initialRefcount=*/1,
                                                userObjectNoDestructorSync),
                           "making an object for a graph");
      !s.isOk())
    return s;
  ++*numAlive;
  (void)held.release();
  if (Status s = gpu.check(api.graphRetainUserObject(graph, object, /*count=*/1,
                                                     graphUserObjectMove),
                           "giving an object to a graph");
      !s.isOk()) {
    api.userObjectRelease(object, 1);
    return s;
  }
  lastCapture = capture;
  return Status::ok();
}
