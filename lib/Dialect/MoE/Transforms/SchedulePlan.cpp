//===- SchedulePlan.cpp - choose how long messages are --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SchedulePlan.h"

#include "KernelTraffic.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/Support/FormatVariadic.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

/// A CPU that reads counts waits for the kernels before, and the GPU then waits
/// for what the CPU sends: about 20 us. Meanwhile the slowest links in use, one
/// of 400 Gb/s for each GPU, carry about as many bytes.
static constexpr double kBytesPerRead = 1 << 20;

/// The dispatch that wrote `sendRow`; null where it is not in sight.
static DispatchOp findRoute(Value sendRow) {
  while (auto cast = sendRow.getDefiningOp<memref::CastOp>())
    sendRow = cast.getSource();
  for (Operation *user : sendRow.getUsers())
    if (auto dispatch = dyn_cast<DispatchOp>(user);
        dispatch && !dispatch.isReuse() &&
        dispatch.getOutput(DispatchOp::Output::SendRow) == sendRow)
      return dispatch;
  return {};
}

/// Rows that a rank exchanges with all others when experts are chosen evenly;
/// of what `op` has room for, half, where it does not say how many experts a
/// token has.
static double expectRows(CollectiveOpInterface op, double room) {
  double away = op.getNumRanks() - 1, ranks = op.getNumRanks();
  auto dispatch = dyn_cast<DispatchOp>(*op);
  auto combine = dyn_cast<CombineOp>(*op);
  if (combine && combine.isExpertMajor())
    return double(combine.getTokenBound()) * double(combine.getNumSlots()) *
           away / ranks;
  if (combine || (dispatch.isReuse() && !dispatch.isExpertMajor())) {
    dispatch = findRoute(combine ? Value(combine.getSendRow())
                                 : dispatch.getReuse().front());
    if (!dispatch)
      return room / 2;
  }
  KernelTraffic traffic = getKernelTraffic(dispatch);
  return double(traffic.tokens) * traffic.rowsOut;
}

ScheduleChoice moe::chooseSchedule(CollectiveOpInterface op, bool hasKernels) {
  if (!hasKernels)
    return {Schedule::exact, "the CPU that sends rows has counted them"};
  auto dispatch = dyn_cast<DispatchOp>(*op);
  auto combine = dyn_cast<CombineOp>(*op);
  if ((dispatch && (dispatch.getKeepBlocks() || dispatch.hasBlocks())) ||
      (combine && combine.hasBlocks()))
    return {Schedule::exact, "blocks of rows are kept for exact messages"};
  double away = op.getNumRanks() - 1;
  double pairRows = op.getMaxPairRows(op.getNumRanks());
  // What would not be room for all rows (coll_s8).
  if (pairRows * op.getNumRanks() > std::numeric_limits<int32_t>::max())
    return {Schedule::exact,
            "more rows may come than an exchange has room for"};
  double rowBytes = getKernelTraffic(op).rowBytes;
  double room = away * pairRows;
  double empty = isa<AllToAllvOp>(*op)
                     ? room - pairRows * away / op.getNumRanks()
                     : std::max(room - expectRows(op, room), 0.0);
  double kibibytes = empty * rowBytes / 1024;
  bool isPadded = empty * rowBytes <= kBytesPerRead;
  return {isPadded ? Schedule::padded : Schedule::exact,
          llvm::formatv("room for all rows that may come is about {0:f0} KiB "
                        "more than those expected, {1} what a CPU that reads "
                        "counts costs",
                        kibibytes, isPadded ? "at most" : "more than")
              .str()};
}
