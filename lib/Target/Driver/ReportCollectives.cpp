//===- ReportCollectives.cpp - What moe ops move --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReportParts.h"
#include "moe-mlir/Conversion/SymmToLLVM/SymmToLLVM.h"
#include "moe-mlir/Dialect/MoE/IR/MoE.h"
#include "moe-mlir/Target/Driver/Report.h"

using namespace mlir;
using namespace mlir::moe;

/// How many ranks, or experts of other ranks, a token has rows on at most.
static int64_t getRemoteRowsPerToken(int64_t ranks, int64_t experts,
                                     int64_t topK, bool expertMajor) {
  if (ranks == 1)
    return 0;
  int64_t remote = expertMajor ? experts - experts / ranks : ranks - 1;
  return topK == 0 ? remote : std::min(topK, remote);
}

/// Bytes of rows that cross once to each rank, of what goes with all rows of a
/// token, and of the lists of its places, with a word for each rank.
static int64_t getExpandedBytes(DispatchOp op, int64_t ranks,
                                int64_t rowBytes) {
  int64_t topK = op.getTopK();
  int64_t places = getRemoteRowsPerToken(ranks, op.getNumExperts(), topK,
                                         /*expertMajor=*/true);
  int64_t rows = std::min(places, ranks - 1);
  int64_t dataBytes = getRowBytes(op.getX());
  if (Value scales = op.getScales())
    dataBytes += getRowBytes(scales);
  int64_t listBytes = places * sizeof(int32_t) + (ranks - 1) * sizeof(int64_t);
  return rows * dataBytes + places * (rowBytes - dataBytes) +
         op.getKernelAttr().getTeam() * listBytes;
}

static void describe(DispatchOp op, int64_t ranks, bool hasMessages,
                     CollectiveReport &report) {
  using Output = DispatchOp::Output;
  for (Output kind : {Output::RecvX, Output::RecvScales, Output::RecvTopkIdx,
                      Output::RecvTopkWeights, Output::RecvSrcIdx})
    if (Value buffer = op.getOutput(kind))
      report.rowBytes += getRowBytes(buffer);
  // The number of the run.
  if (op.isReuse() && op.hasZeroPadding() && !hasMessages)
    report.rowBytes += sizeof(int64_t);
  report.rows = op.getNumRows(ranks);
  // dispatch_s13: kernels that share memory do so.
  if (op.isExpand() && op.getKernelAttr() && !op.getScheduleAttr()) {
    report.wireBytes =
        op.getTokenBound() * getExpandedBytes(op, ranks, report.rowBytes);
    return;
  }
  report.wireBytes = report.rowBytes * op.getTokenBound() *
                     getRemoteRowsPerToken(ranks, op.getNumExperts(),
                                           op.getTopK(), op.isExpertMajor());
}

/// A combine by expert that pushes: the partial sum of each other rank that has
/// rows, and what each is asked for, a word per row that it may have.
static int64_t getBytesOfPartials(CombineOp op, int64_t ranks) {
  if (ranks == 1)
    return 0;
  auto y = cast<ShapedType>(op.getY().getType());
  int64_t bytes = getRowBytes(op.getY()), slots = op.getNumSlots();
  bool isRow = slots == 1 && !op.getWeights();
  if (isa<FloatType>(y.getElementType()) && !op.roundsPartials() && !isRow)
    bytes = y.getDimSize(1) * sizeof(float);
  ExpertPlacement placement{static_cast<int64_t>(op.getNumExperts()), ranks};
  int64_t words = std::min(slots, placement.maxPerRank());
  return op.getTokenBound() *
         (std::min(slots, ranks - 1) * bytes +
          (ranks - 1) * words * static_cast<int64_t>(sizeof(int64_t)));
}

static void describe(CombineOp op, int64_t ranks, CollectiveReport &report) {
  report.rows = cast<ShapedType>(op.getY().getType()).getDimSize(0);
  report.rowBytes = getRowBytes(op.getY());
  if (Value weights = op.getWeights())
    report.rowBytes += getRowBytes(weights);
  int64_t topK = 0;
  if (Value topk = op.getTopk())
    topK = cast<ShapedType>(topk.getType()).getDimSize(1);
  // Messages do not tell push from pull, and have a schedule.
  if (op.isExpertMajor() && op.getAlgorithm() == Algorithm::push &&
      !op.getScheduleAttr()) {
    report.wireBytes = getBytesOfPartials(op, ranks);
    return;
  }
  report.wireBytes = report.rowBytes * op.getTokenBound() *
                     getRemoteRowsPerToken(ranks, op.getNumExperts(), topK,
                                           op.isExpertMajor());
}

static void describe(AllToAllvOp op, int64_t ranks, CollectiveReport &report) {
  auto send = cast<ShapedType>(op.getSend().getType());
  auto recv = cast<ShapedType>(op.getOutputValues().front().getType());
  report.rows = recv.getDimSize(0);
  report.rowBytes = getRowBytes(op.getSend());
  if (ranks == 1)
    report.wireBytes = 0;
  else if (!send.isDynamicDim(0))
    report.wireBytes = report.rowBytes * send.getDimSize(0);
}

static CollectiveReport::Kernel describe(KernelAttr attr) {
  CollectiveReport::Kernel kernel;
  kernel.blocks = attr.getBlocks();
  kernel.threads = attr.getThreads();
  kernel.transfer = stringifyTransfer(attr.getTransfer()).str();
  if (attr.getTransfer() == Transfer::bulk)
    kernel.stages = attr.getStages();
  else
    kernel.team = attr.getTeam();
  return kernel;
}

void CompileReport::collectCollectives(ModuleOp module,
                                       bool ranksHaveMessages) {
  hasMessages = ranksHaveMessages;
  module.walk([&](CollectiveOpInterface op) {
    CollectiveReport &report = collectives.emplace_back();
    report.op = op->getName().getStringRef().str();
    report.location = describeLocation(op.getLoc());
    ranks = op.getNumRanks();
    if (auto dispatch = dyn_cast<DispatchOp>(*op))
      describe(dispatch, ranks, hasMessages, report);
    else if (auto combine = dyn_cast<CombineOp>(*op))
      describe(combine, ranks, report);
    else if (auto alltoallv = dyn_cast<AllToAllvOp>(*op))
      describe(alltoallv, ranks, report);
    if (KernelAttr kernel = op.getKernelAttr())
      report.kernel = describe(kernel);
  });
}
