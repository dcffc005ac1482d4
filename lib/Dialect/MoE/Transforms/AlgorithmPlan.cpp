//===- AlgorithmPlan.cpp - Which algorithms kernels follow ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AlgorithmPlan.h"
#include "KernelTraffic.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe;
using llvm::formatv;

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

// What follows was measured with rows of 14336 bytes (bf16, H 7168, top-8 of
// 256 experts), in microseconds.

/// A combine pushes when rows of so many bytes, at most, leave each rank:
/// stores over the links are faster than loads, and from there on by more than
/// the slots cost. On fewer than kLoadingBlocks blocks it never does. Push and
/// pull on four H200s:
///
///     tokens   bytes       push     pull
///     1024      42 MiB    131.8    127.9
///     4096     168 MiB    475.7    490.2
///     8192     336 MiB    923.6    970.8
static constexpr double kPushBytes = 160 << 20;
/// The same among two ranks, which have half of the rows themselves; on two
/// H200s:
///
///     tokens   bytes       push     pull
///     1024      14 MiB     60.3     52.4
///     4096      56 MiB    183.5    183.6
///     8192     112 MiB    342.9    357.7
static constexpr double kPushBytesOfTwo = 96 << 20;
/// The same of a combine whose rows would be copied to symmetric memory first,
/// among any ranks: a push reads them where they are. Dispatch and combine,
/// whose rows the caller has in memory of its own, on two H200s:
///
///     tokens   bytes       push     pull
///     4096      56 MiB    417.2    478.5
static constexpr double kCopiedPushBytes = 40 << 20;
/// A combine by expert pushes, which adds up the rows of a rank before they
/// cross, when rows of so many bytes would cross otherwise, on average, and
/// sums take no more than a share of them. On two H200s, with sums in f32:
///
///     tokens   bytes       push     pull
///     128        7 MiB     30.9     29.6
///     1024      56 MiB    116.4    184.2
///     4096     224 MiB    434.1    712.1
static constexpr double kSumBytes = 24 << 20;
/// A dispatch by expert expands rows when rows of so many bytes would cross
/// otherwise, on average, those that do take no more than a share of them, and
/// the lists that go with a row are short beside it. On two H200s:
///
///     tokens   bytes     expand   direct
///     16       0.9 MiB     15.1     10.1
///     128        7 MiB     20.7     29.4
///     1024      56 MiB     86.7    189.7
///     4096     224 MiB    235.3    685.8
static constexpr double kExpandBytes = 3 << 20;
static constexpr int64_t kExpandRowBytes = 1024;
/// Between what was measured (a quarter or a half of the bytes) and no gain.
static constexpr double kGainingShare = 0.75;

static double toMiB(double bytes) { return bytes / (1 << 20); }

/// On how many other ranks a token has a row, and how many rows it has there,
/// on average, when each of its `slots` experts is on any rank.
static double getRanksOut(double ranks, int64_t slots) {
  return (ranks - 1) * (1 - std::pow(1 - 1 / ranks, double(slots)));
}
static double getRowsOut(double ranks, int64_t slots) {
  return double(slots) * (ranks - 1) / ranks;
}

/// The number of blocks that is given or asked for, 0 for any.
template <typename OpTy>
static int64_t getBlocks(OpTy op, const KernelRequest &request) {
  KernelAttr given = op.getKernelAttr();
  return given ? given.getBlocks() : request.blocks;
}

template <typename OpTy>
static bool isBulk(OpTy op, const KernelRequest &request) {
  KernelAttr given = op.getKernelAttr();
  return given ? given.getTransfer() == Transfer::bulk
               : request.transfer == Transfer::bulk;
}

//===----------------------------------------------------------------------===//
// Combine
//===----------------------------------------------------------------------===//

StringRef moe::findFormObstacleToPush(CombineOp op) {
  if (op.returnsRows())
    return "rows that are not added up need no slots";
  return {};
}

/// What keeps a combine from pushing where that is faster; empty without any.
static std::string findPushObstacle(CombineOp op, const KernelTraffic &traffic,
                                    const KernelRequest &request) {
  if (StringRef obstacle = findFormObstacleToPush(op); !obstacle.empty())
    return obstacle.str();
  // Each share of a row is a ticket, and tickets are i32.
  if (traffic.tokens >= (int64_t(1) << 25) / traffic.ranks)
    return formatv("{0} tokens have more rows than can be shared out",
                   traffic.tokens);
  if (isBulk(op, request))
    return "bulk copies are asked for, and a push has no form with them";
  if (int64_t blocks = getBlocks(op, request);
      blocks && blocks < kLoadingBlocks)
    return formatv("{0} blocks are too few to push, which pays from {1} on",
                   blocks, kLoadingBlocks);
  return {};
}

/// Whether other ranks cannot read the rows where the caller has them.
static bool isCopiedToBePulled(CombineOp op) {
  Value rows = op.getY();
  while (auto cast = rows.getDefiningOp<memref::CastOp>())
    rows = cast.getSource();
  auto argument = dyn_cast<BlockArgument>(rows);
  if (!argument || !argument.getOwner()->isEntryBlock())
    return false;
  auto function =
      dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp());
  return function && function.isPublic() &&
         !function.getArgAttr(argument.getArgNumber(), "moe.symmetric");
}

/// Why a push is faster; empty where it is not.
static std::string findReasonToPush(CombineOp op,
                                    const KernelTraffic &traffic) {
  if (traffic.ranks == 1)
    return {};
  double perRank = double(traffic.tokens) * traffic.rowBytes;
  if (op.isExpertMajor()) {
    int64_t slots = op.getNumSlots();
    double rows = perRank * getRowsOut(traffic.ranks, slots);
    auto type = cast<ShapedType>(op.getY().getType()).getElementType();
    bool isRounded = op.getPartials() == Partials::element;
    double wider = isRounded ? 1 : 32.0 / type.getIntOrFloatBitWidth();
    if (!isa<FloatType>(type))
      wider = 1;
    double sums = perRank * getRanksOut(traffic.ranks, slots) * wider;
    if (rows < kSumBytes || sums > kGainingShare * rows)
      return {};
    return formatv("sums of {0:f0} MiB cross on average where rows of {1:f0} "
                   "MiB would, and from {2:f0} MiB on that gains more than "
                   "slots cost",
                   toMiB(sums), toMiB(rows), toMiB(kSumBytes));
  }
  double bytesOut = perRank * (traffic.ranks - 1);
  double pushBytes = traffic.ranks == 2 ? kPushBytesOfTwo : kPushBytes;
  if (bytesOut >= pushBytes)
    return formatv("up to {0:f0} MiB leave a rank, and from {1:f0} MiB on "
                   "stores over the links gain more than slots cost",
                   toMiB(bytesOut), toMiB(pushBytes));
  if (bytesOut >= kCopiedPushBytes && isCopiedToBePulled(op))
    return formatv("up to {0:f0} MiB leave a rank, which would be copied to "
                   "symmetric memory to be pulled, and from {1:f0} MiB on "
                   "slots cost less",
                   toMiB(bytesOut), toMiB(kCopiedPushBytes));
  return {};
}

AlgorithmChoice moe::chooseAlgorithm(CombineOp op,
                                     const KernelRequest &request) {
  KernelTraffic traffic = getKernelTraffic(op);
  std::string reason = findReasonToPush(op, traffic);
  if (reason.empty())
    return {Algorithm::pull,
            "rows are read once, where they lie, and need no slots"};
  std::string obstacle = findPushObstacle(op, traffic, request);
  if (!obstacle.empty())
    return {Algorithm::pull, obstacle};
  return {Algorithm::push, reason};
}

//===----------------------------------------------------------------------===//
// Dispatch
//===----------------------------------------------------------------------===//

StringRef moe::findFormObstacleToExpand(DispatchOp op) {
  if (!op.isExpertMajor())
    return "only an expert_major layout has several rows of a token on a rank";
  if (op.getNumRanks() == 1)
    return "one rank has no rows from others";
  return {};
}

std::string moe::findObstacleToExpand(DispatchOp op,
                                      const KernelRequest &request) {
  if (StringRef obstacle = findFormObstacleToExpand(op); !obstacle.empty())
    return obstacle.str();
  // Each share of a token is a ticket, and tickets are i32.
  if (op.getTokenBound() >= int64_t(1) << 25)
    return formatv("{0} tokens are more than can be shared out",
                   op.getTokenBound());
  if (isBulk(op, request))
    return "bulk copies are asked for, and rows that expand have no form with "
           "them";
  return {};
}

DispatchAlgorithmChoice moe::chooseAlgorithm(DispatchOp op,
                                             const KernelRequest &request) {
  KernelTraffic traffic = getKernelTraffic(op);
  Value slots = op.isReuse() ? op.getReuse().front() : op.getTopkIdx();
  int64_t numSlots = cast<ShapedType>(slots.getType()).getDimSize(1);
  double bytes = double(traffic.tokens) * traffic.rowBytes;
  double rows = bytes * getRowsOut(traffic.ranks, numSlots);
  double once = bytes * getRanksOut(traffic.ranks, numSlots);
  if (rows < kExpandBytes || traffic.rowBytes < kExpandRowBytes)
    return {DispatchAlgorithm::direct, "rows are few or short"};
  if (once > kGainingShare * rows)
    return {DispatchAlgorithm::direct,
            "most rows of a token are on different ranks"};
  if (int64_t blocks = getBlocks(op, request);
      blocks && blocks < kLoadingBlocks)
    return {
        DispatchAlgorithm::direct,
        formatv("{0} blocks are too few to expand rows, which pays from {1} "
                "on",
                blocks, kLoadingBlocks)};
  return {DispatchAlgorithm::expand,
          formatv("rows of {0:f0} MiB cross on average, each to a rank once, "
                  "instead of {1:f0} MiB",
                  toMiB(once), toMiB(rows))};
}
