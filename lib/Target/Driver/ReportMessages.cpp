//===- ReportMessages.cpp - Bytes of the messages of a module -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReportParts.h"
#include "moe-mlir/Dialect/Coll/IR/Coll.h"
#include "moe-mlir/Target/Driver/Report.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include <map>

using namespace mlir;
using namespace mlir::moe;

/// Bytes that `op` brings from this rank to the others, beside rows.
static int64_t getTableBytes(Operation *op, int64_t ranks) {
  if (auto gather = dyn_cast<coll::AllGatherOp>(op)) {
    auto type = cast<MemRefType>(gather.getSend().getType());
    return (ranks - 1) * type.getDimSize(0) * getRowBytes(gather.getSend());
  }
  if (auto all = dyn_cast<coll::AllToAllOp>(op))
    return (ranks - 1) * getRowBytes(all.getSend());
  return 0;
}

/// Bytes of rows that `op` brings from this rank to the others where that does
/// not depend on data: as many to each rank.
static std::optional<int64_t> getPaddedBytes(Operation *op, int64_t ranks) {
  auto rows = dyn_cast<coll::RowsOp>(op);
  auto counts =
      rows ? rows.getSendCounts().getDefiningOp<coll::TableOp>() : nullptr;
  if (!counts)
    return std::nullopt;
  return (ranks - 1) * counts.getNumbers().front() *
         getRowBytes(rows.getSend());
}

void CompileReport::collectMessageBytes(ModuleOp module) {
  std::map<CollectiveReport *, int64_t> paddedBytes;
  auto add = [&](CollectiveReport &report, Operation *op) {
    report.tableBytes += getTableBytes(op, ranks);
    if (std::optional<int64_t> bytes = getPaddedBytes(op, ranks))
      paddedBytes[&report] += *bytes;
  };
  forEachCollective(module, [&](CollectiveReport &report, Operation *op) {
    add(report, op);
    auto call = dyn_cast<func::CallOp>(op);
    if (!call)
      return;
    report.function = call.getCallee().str();
    if (Operation *callee = CallOpInterface(call).resolveCallable())
      callee->walk([&](Operation *nested) { add(report, nested); });
  });
  for (auto [report, bytes] : paddedBytes) {
    report->isPadded = true;
    report->wireBytes = bytes;
  }
}
