//===- SchedulePlan.h - choose how long messages are ----------- -*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_SCHEDULEPLAN_H
#define MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_SCHEDULEPLAN_H

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include <string>

namespace mlir::moe {

struct ScheduleChoice {
  Schedule schedule;
  std::string reason;
};

/// Chooses how long the messages of `op` are, on GPUs or CPUs. Depends on types
/// and attributes only, so that all ranks choose alike.
ScheduleChoice chooseSchedule(CollectiveOpInterface op, bool hasKernels);

} // namespace mlir::moe

#endif // MOE_MLIR_LIB_DIALECT_MOE_TRANSFORMS_SCHEDULEPLAN_H
