//===- KernelPlan.cpp - shape of the kernel of a moe op -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The rules of the planner, which docs/CUDA.md states. Numbers that come from
/// measurements stand at the top of this file, or in MoEToSymm.h where kernels
/// need them as well.
///
//===----------------------------------------------------------------------===//

#include "KernelPlan.h"

#include "KernelTraffic.h"
#include "moe-mlir/Conversion/KernelShape.h"
#include "moe-mlir/Conversion/SymmToNVVM/SymmToNVVM.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;
using llvm::formatv;

static constexpr int64_t kLanes = kSubgroupSize;

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

/// Threads per block. With more, registers do not hold enough of the rows in
/// flight.
static constexpr int64_t kThreads = 512;
/// Threads that a multiprocessor has room for.
static constexpr int64_t kThreadsOfProcessor = 2048;
/// Stages of bulk copies in a dispatch, when they fit.
static constexpr int64_t kDispatchStages = 3;
/// Of a combine whose rows move in parts, at least.
static constexpr int64_t kPartStages = 6;
/// With fewer than kLoadingBlocks blocks, tokens per block from which on a
/// combine by bulk copies is at least as fast as one by loads, where tokens may
/// have fewer rows than slots. Measured when loads were made for all slots.
static constexpr int64_t kBulkTokens = 128;
/// With fewer than kCrampedBlocks blocks, rows per block instead: those load
/// too few rows at a time.
static constexpr int64_t kCrampedBlocks = 32;
static constexpr int64_t kBulkRows = 64;
/// Blocks of a combine among several ranks: with more it is slower, or not
/// faster. Among two ranks only with loads, and when all of their subgroups
/// have tokens, some of which may have fewer rows than others.
static constexpr int64_t kCombineBlocks = 64;
/// Bytes of a token that leave the rank from which on blocks with a token are
/// kept apart, and how many blocks there are then for one: neighbours share a
/// way to the links.
static constexpr int64_t kCrowdedBytes = 24 << 10;
static constexpr int64_t kBlocksApart = 4;
/// Bytes of a subgroup's share of a row, at least, where subgroups take shares
/// one by one: smaller ones are moved sooner than the counter gives out the
/// next.
static constexpr int64_t kShareBytes = 1792;
/// The same where ranks expand rows, in which each share has a word and a list
/// of its own: what registers hold.
static constexpr int64_t kExpandShareBytes = 3584;
/// Subgroups from which on shares are divided: fewer do not hide the time from
/// one share to the next.
static constexpr int64_t kSharingSubgroups = 384;
/// Bytes of shares in flight, in all subgroups and to all ranks, that are
/// enough for the links.
static constexpr int64_t kSharesInFlight = 576 << 10;
/// Up to so many blocks, a multiprocessor's threads are what limits a dispatch,
/// and what their registers hold a combine.
static constexpr int64_t kFewBlocks = 8;
static constexpr int64_t kManyThreads = 1024;

std::optional<KernelTarget> moe::getKernelTarget(StringRef chip) {
  unsigned capability = 0;
  if (!chip.consume_front("sm_") || chip.consumeInteger(10, capability))
    return std::nullopt;
  // From sm_120 on, chips have bulk copies, but less shared memory.
  if (capability >= 120)
    return KernelTarget{188, false};
  if (capability >= 100)
    return KernelTarget{148, true};
  if (capability >= 90)
    return KernelTarget{132, true};
  return KernelTarget{108, false};
}

//===----------------------------------------------------------------------===//
// Choice
//===----------------------------------------------------------------------===//

/// Stages that fit into shared memory, at most; fewer than kMinStages when not
/// even those do.
static int64_t getMaxStages(const KernelTraffic &traffic) {
  int64_t stages = kMaxStages;
  auto fit = [&] {
    if (traffic.isCombine)
      return getStageParts(traffic.rowBytes, traffic.rowsOfToken, stages) > 0;
    return stages * traffic.stageBytes <= kStageBytes;
  };
  while (stages >= kMinStages && !fit())
    --stages;
  return stages;
}

/// Stages when none are asked for. In a combine as many whole tokens as have
/// room, since what is in flight bounds the speed of few blocks, and no more
/// than all blocks together profit from; each team that adds has as many, two
/// at least. Of the numbers of teams the one with which most is in flight.
static int64_t chooseStages(const KernelTraffic &traffic, int64_t blocks,
                            int64_t threads) {
  if (!traffic.isCombine)
    return kDispatchStages;
  int64_t adding = threads / kLanes - 1;
  SmallVector<int64_t> teamCounts;
  for (int64_t size = kMaxAdders; size >= kMinAdders; --size)
    if (adding % size == 0)
      teamCounts.push_back(adding / size);
  // Other numbers of subgroups make one team of all.
  if (teamCounts.empty())
    teamCounts.push_back(1);
  int64_t tokenBytes =
      std::max<int64_t>(traffic.rowsOfToken * traffic.rowBytes, 1);
  int64_t room = std::min(kMaxStages, kStageBytes / tokenBytes);
  int64_t useful = kCombineBytesInFlight / blocks / tokenBytes;
  int64_t best = 0;
  for (int64_t teams : teamCounts) {
    int64_t stages = std::max(std::min(room, useful), 2 * teams);
    stages = stages / teams * teams;
    // More teams make up for a little less.
    if (stages <= room && 10 * stages >= 9 * best)
      best = stages;
  }
  // Rows that are too long for that move in parts.
  return best ? best : std::max(2 * teamCounts.front(), kPartStages);
}

/// Why the rows of an op cannot move by bulk copies; empty when they can.
static std::string findBulkObstacle(const KernelTraffic &traffic,
                                    const KernelTarget &target,
                                    int64_t threads) {
  if (!target.hasBulkCopies)
    return "the chip has no bulk copies, or too little shared memory for them";
  if (!traffic.hasBulkForm)
    return "it has no form with bulk copies";
  if (traffic.rowBytes % 16 != 0)
    return formatv("rows of {0} bytes are no multiple of 16 bytes",
                   traffic.rowBytes);
  if (traffic.rowsOfToken > kLanes)
    return formatv("{0} slots of a token are more than the {1} lanes of a "
                   "subgroup",
                   traffic.rowsOfToken, kLanes);
  if (traffic.isCombine && threads < 2 * kLanes)
    return formatv("one subgroup brings rows, and blocks of {0} threads have "
                   "no other",
                   threads);
  if (getMaxStages(traffic) < kMinStages)
    return formatv("{0} stages of {1} bytes do not fit into shared memory",
                   kMinStages, traffic.stageBytes);
  return {};
}

/// The largest power of two that divides the subgroups; of an alltoallv, no
/// more than the pieces that a row makes.
static int64_t getLargestTeam(const KernelTraffic &traffic, int64_t subgroups) {
  int64_t largest = subgroups & -subgroups;
  if (!traffic.hasPieces)
    return largest;
  return std::min(largest, getMaxPiecesOfRow(traffic.rowBytes));
}

/// Whether the subgroups of a dispatch take shares of tokens one by one, if
/// each has more than one (DispatchKernel::sharesOutTokens).
static bool takesShares(const KernelTraffic &traffic, int64_t blocks,
                        int64_t threads) {
  int64_t all = blocks * (threads / kLanes);
  if (!traffic.isDispatch || traffic.tokens <= all)
    return false;
  if (!traffic.isByExpert)
    return true;
  return !fitsMarks(traffic.tokens, traffic.experts, threads) &&
         (traffic.isExpand ||
          traffic.tokens >= all * getSharedTokensByExpert(blocks));
}

/// The most shares of a row that are large enough for the counter, and with
/// which enough is in flight. A subgroup loads as much as registers hold before
/// it stores: what is left over at the end of a share fills them only in part.
static int64_t chooseShares(const KernelTraffic &traffic, int64_t all,
                            int64_t threads) {
  int64_t held = getMaxHeldVectors(threads) * 16 * kLanes;
  double rowsOut = std::min(traffic.rowsOut, 1.0);
  int64_t least = traffic.isExpand ? kExpandShareBytes : kShareBytes;
  int64_t best = 1;
  for (int64_t shares = 2;
       all >= kSharingSubgroups && traffic.rowBytes >= shares * least;
       shares *= 2) {
    int64_t bytes = traffic.rowBytes / shares;
    int64_t inFlight = bytes / llvm::divideCeil(bytes, held) * all;
    if (inFlight * rowsOut >= kSharesInFlight)
      best = shares;
  }
  return best;
}

/// Subgroups that share a token when all of `blocks` run: as many as keep all
/// of them busy with few tokens, and let the fast ones take more of many. Of an
/// alltoallv, pieces of a row.
static int64_t chooseTeam(const KernelTraffic &traffic, int64_t blocks,
                          int64_t threads) {
  int64_t subgroups = threads / kLanes;
  int64_t largest = getLargestTeam(traffic, subgroups);
  if (traffic.hasPieces)
    return largest;
  if (takesShares(traffic, blocks, threads)) {
    // Half of the subgroups expand.
    int64_t putting = traffic.isExpand ? subgroups / 2 : subgroups;
    return std::min(chooseShares(traffic, blocks * putting, threads), largest);
  }
  int64_t perToken = blocks * subgroups / std::max<int64_t>(traffic.tokens, 1);
  int64_t team = llvm::bit_floor<uint64_t>(std::max<int64_t>(perToken, 1));
  return std::min(team, largest);
}

/// Blocks that have something to move, when all tokens come, and those between
/// them if `most` allows that; or a row to fill, when none come.
static int64_t countUsefulBlocks(const KernelTraffic &traffic,
                                 int64_t subgroups, int64_t team,
                                 int64_t most) {
  if (traffic.hasPieces)
    return llvm::divideCeil(traffic.tokens * traffic.rowBytes,
                            kPieceBytes * subgroups);
  int64_t perBlock = subgroups / team;
  int64_t blocks = llvm::divideCeil(traffic.tokens, perBlock);
  bool isCrowded = traffic.isDispatch && perBlock == 1 &&
                   traffic.rowsOut * traffic.rowBytes >= kCrowdedBytes;
  if (isCrowded && blocks * kBlocksApart <= most)
    blocks *= kBlocksApart;
  return std::max<int64_t>(blocks,
                           llvm::divideCeil(traffic.paddedRows, subgroups));
}

/// Blocks when none are asked for, if so many have something to move.
static int64_t chooseBlocks(const KernelTraffic &traffic,
                            const KernelTarget &target,
                            const KernelRequest &request) {
  if (!traffic.isCombine || traffic.isPush || traffic.ranks == 1)
    return target.processors;
  int64_t threads = request.threads ? request.threads : kThreads;
  int64_t subgroups = kCombineBlocks * threads / kLanes;
  if (traffic.ranks == 2 &&
      (!traffic.hasFewerRows || traffic.tokens < subgroups ||
       request.transfer == Transfer::bulk))
    return target.processors;
  return std::min(target.processors, kCombineBlocks);
}

/// Tokens per block from which on a combine moves rows by bulk copies; none
/// when it does not.
static std::optional<int64_t> getBulkTokens(const KernelTraffic &traffic,
                                            int64_t blocks) {
  if (blocks >= kLoadingBlocks ||
      (!traffic.hasFewerRows && blocks > kFewBlocks))
    return std::nullopt;
  if (blocks >= kCrampedBlocks)
    return kBulkTokens;
  return llvm::divideCeil(kBulkRows, std::max<int64_t>(traffic.rowsOfToken, 1));
}

static Transfer chooseTransfer(const KernelTraffic &traffic, int64_t blocks,
                               const KernelRequest &request,
                               const std::string &obstacle,
                               KernelChoice &choice) {
  if (!request.transfer) {
    std::optional<int64_t> enough;
    if (traffic.isCombine)
      enough = getBulkTokens(traffic, blocks);
    bool isMany = enough && traffic.tokens >= *enough * blocks;
    if (!obstacle.empty())
      choice.reason = obstacle;
    else if (traffic.isCombine && !enough)
      choice.reason = "they are as fast as bulk copies, or nearly";
    else if (!enough)
      choice.reason = "they are not slower than bulk copies, wherever both "
                      "were measured";
    else if (!isMany)
      choice.reason = formatv("{0} blocks have fewer than {1} tokens each",
                              blocks, *enough);
    else
      choice.reason =
          "with so many tokens they are as fast as loads, or faster";
    return obstacle.empty() && isMany ? Transfer::bulk : Transfer::stores;
  }
  choice.reason = "asked for by 'transfer'";
  if (*request.transfer == Transfer::bulk && !obstacle.empty()) {
    choice.missed.push_back("rows that move by stores, not bulk copies: " +
                            obstacle);
    choice.reason = obstacle;
    return Transfer::stores;
  }
  return *request.transfer;
}

KernelChoice moe::planKernel(CollectiveOpInterface op,
                             const KernelTarget &target,
                             const KernelRequest &request) {
  KernelTraffic traffic = getKernelTraffic(op);
  KernelChoice choice;

  int64_t blocks =
      request.blocks ? request.blocks : chooseBlocks(traffic, target, request);
  int64_t threads = request.threads;
  if (!threads)
    threads =
        traffic.isDispatch && blocks <= kFewBlocks ? kManyThreads : kThreads;
  // More than run at once are never launched, and each has state of its own.
  int64_t most = target.processors * (kThreadsOfProcessor / threads);
  if (blocks > most) {
    choice.missed.push_back(
        formatv("{0} blocks, not {1}: {2} multiprocessors have no room for "
                "more of {3} threads",
                most, blocks, target.processors, threads));
    blocks = most;
  }
  std::string obstacle = findBulkObstacle(traffic, target, threads);
  Transfer transfer =
      chooseTransfer(traffic, blocks, request, obstacle, choice);
  int64_t stages = kDispatchStages, team = 1;
  if (transfer == Transfer::bulk) {
    int64_t wanted = request.stages ? request.stages
                                    : chooseStages(traffic, blocks, threads);
    stages = std::clamp(wanted, kMinStages, getMaxStages(traffic));
    if (request.stages && stages != request.stages)
      choice.missed.push_back(
          formatv("{0} stages, not {1}: at least {2} are used, and as many of "
                  "{3} bytes as fit into shared memory",
                  stages, request.stages, kMinStages, traffic.stageBytes));
    if (request.team > 1)
      choice.missed.push_back("no teams: subgroups do not share a token with "
                              "bulk copies");
  } else {
    int64_t subgroups = threads / kLanes;
    int64_t largest = getLargestTeam(traffic, subgroups);
    team = request.team ? std::min(request.team, largest)
                        : chooseTeam(traffic, blocks, threads);
    if (team < request.team && traffic.hasPieces)
      choice.missed.push_back(
          formatv("rows that move in {0} {1}, not {2}: as many as blocks of "
                  "{3} subgroups and rows of {4} bytes allow",
                  team, team == 1 ? "piece" : "pieces", request.team, subgroups,
                  traffic.rowBytes));
    else if (team < request.team)
      choice.missed.push_back(formatv("teams of {0} subgroups, not {1}: a "
                                      "block has {2}",
                                      team, request.team, subgroups));
    if (request.stages)
      choice.missed.push_back("no stages: rows move by stores");
    // Blocks without a token would only have to be waited for.
    if (!request.blocks)
      blocks = std::clamp<int64_t>(
          countUsefulBlocks(traffic, subgroups, team, blocks), 1, blocks);
  }
  choice.kernel = KernelAttr::get(op->getContext(), blocks, threads, transfer,
                                  stages, team);
  return choice;
}
