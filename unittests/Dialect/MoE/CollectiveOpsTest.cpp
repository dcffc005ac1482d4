//===- CollectiveOpsTest.cpp - What ops tell about themselves -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-mlir/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Shard/IR/ShardDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::moe;
using testing::ElementsAre;
using Output = DispatchOp::Output;

namespace {

class CollectiveOpsTest : public testing::Test {
protected:
  CollectiveOpsTest() {
    context.loadDialect<MoEDialect, func::FuncDialect, shard::ShardDialect>();
  }

  /// Parses `source` and returns its only op of type OpTy.
  template <typename OpTy> OpTy parse(StringRef source) {
    module = parseSourceString<ModuleOp>(source, &context);
    EXPECT_TRUE(module) << source.str();
    OpTy found;
    if (module)
      module->walk([&](OpTy op) { found = op; });
    EXPECT_TRUE(found) << source.str();
    return found;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST_F(CollectiveOpsTest, RankMajorDispatch) {
  auto op = parse<DispatchOp>(R"mlir(
    shard.grid @ep(shape = 4)
    func.func private @f(%x: tensor<10x8xbf16>, %i: tensor<10x2xi32>,
                         %w: tensor<10x2xf32>) {
      %0:7 = moe.dispatch %x, %i, %w on @ep {num_experts = 6 : i64}
        : (tensor<10x8xbf16>, tensor<10x2xi32>, tensor<10x2xf32>)
       -> (tensor<40x8xbf16>, tensor<40x2xi32>, tensor<40x2xf32>,
           tensor<40xi32>, tensor<4xi32>, tensor<4xi32>, tensor<10x4xi32>)
      return
    })mlir");
  ASSERT_TRUE(op);
  EXPECT_THAT(op.getOutputKinds(),
              ElementsAre(Output::RecvX, Output::RecvTopkIdx,
                          Output::RecvTopkWeights, Output::RecvSrcIdx,
                          Output::TokensToRank, Output::TokensFromRank,
                          Output::SendRow));
  EXPECT_EQ(op.getOutput(Output::SendRow), op->getResult(6));
  EXPECT_FALSE(op.getOutput(Output::RecvScales));
  EXPECT_FALSE(op.getOutput(Output::ExpertCounts));
  EXPECT_EQ(op.getTopK(), 2);
  EXPECT_EQ(op.getTokenBound(), 10);
  EXPECT_EQ(op.getNumRows(4), 40);
  EXPECT_EQ(op.getRoutingTopkIdx(), op.getTopkIdx());

  auto collective = cast<CollectiveOpInterface>(op.getOperation());
  EXPECT_TRUE(collective.isTensorForm());
  EXPECT_EQ(collective.getNumRanks(), 4);
}

// dispatch_s8: six experts on four ranks make at most two a rank, so each token
// is at most two rows there.
TEST_F(CollectiveOpsTest, ExpertMajorCapacity) {
  auto op = parse<DispatchOp>(R"mlir(
    shard.grid @ep(shape = 4)
    func.func private @f(%x: tensor<?x8xf32>, %i: tensor<?x3xi32>,
                         %w: tensor<?x3xf32>) {
      %0:9 = moe.dispatch %x, %i, %w on @ep
        {num_experts = 6 : i64, layout = #moe.layout<expert_major>,
         max_tokens = 10 : i64}
        : (tensor<?x8xf32>, tensor<?x3xi32>, tensor<?x3xf32>)
       -> (tensor<80x8xf32>, tensor<80xi32>, tensor<80xf32>, tensor<80xi32>,
           tensor<4xi32>, tensor<4xi32>, tensor<?x3xi32>, tensor<2xi32>,
           tensor<2xi32>)
      return
    })mlir");
  ASSERT_TRUE(op);
  EXPECT_TRUE(op.isExpertMajor());
  EXPECT_EQ(op.getTokenBound(), 10);
  EXPECT_EQ(op.getNumRows(4), 80);
  EXPECT_EQ(op.getOutput(Output::ExpertCounts), op->getResult(8));
  EXPECT_EQ(op.getOutputKinds().size(), 9u);
}

// dispatch_s15: 40 rows that two experts may take, and up to three places more
// behind each of two groups: 86, to 84.
TEST_F(CollectiveOpsTest, ListsFollowTheOtherOutputs) {
  auto op = parse<DispatchOp>(R"mlir(
    shard.grid @ep(shape = 4)
    func.func private @f(%x: tensor<10x8xbf16>, %i: tensor<10x3xi32>,
                         %w: tensor<10x3xf32>) {
      %0:11 = moe.dispatch %x, %i, %w on @ep
        {num_experts = 6 : i64, list_alignment = 4 : i64}
        : (tensor<10x8xbf16>, tensor<10x3xi32>, tensor<10x3xf32>)
       -> (tensor<40x8xbf16>, tensor<40x3xi32>, tensor<40x3xf32>,
           tensor<40xi32>, tensor<4xi32>, tensor<4xi32>, tensor<10x4xi32>,
           tensor<2xi32>, tensor<2xi32>, tensor<84xi32>, tensor<84xf32>)
      return
    })mlir");
  ASSERT_TRUE(op);
  EXPECT_TRUE(op.hasLists());
  EXPECT_EQ(op.getListLength(4), 84);
  EXPECT_EQ(op.getOutput(Output::ExpertOffsets), op->getResult(7));
  EXPECT_EQ(op.getOutput(Output::ExpertCounts), op->getResult(8));
  EXPECT_EQ(op.getOutput(Output::ListRows), op->getResult(9));
  EXPECT_EQ(op.getOutput(Output::ListWeights), op->getResult(10));
}

// dispatch_s16: a rank owns up to two experts.
TEST_F(CollectiveOpsTest, BlocksAreTheLastOutputs) {
  auto op = parse<DispatchOp>(R"mlir(
    shard.grid @ep(shape = 4)
    func.func private @f(%x: tensor<10x8xbf16>, %i: tensor<10x3xi32>,
                         %w: tensor<10x3xf32>) {
      %0:11 = moe.dispatch %x, %i, %w on @ep
        {num_experts = 6 : i64, layout = #moe.layout<expert_major>, keep_blocks}
        : (tensor<10x8xbf16>, tensor<10x3xi32>, tensor<10x3xf32>)
       -> (tensor<80x8xbf16>, tensor<80xi32>, tensor<80xf32>, tensor<80xi32>,
           tensor<4xi32>, tensor<4xi32>, tensor<10x3xi32>, tensor<2xi32>,
           tensor<2xi32>, tensor<2x4x2x2xi32>, tensor<4x4xi32>)
      return
    })mlir");
  ASSERT_TRUE(op);
  EXPECT_EQ(op.getOutput(Output::PeerBlocks), op->getResult(9));
  EXPECT_EQ(op.getOutput(Output::PeerRows), op->getResult(10));
  EXPECT_EQ(op.getOutputName(10), "peer_rows");
  EXPECT_FALSE(op.hasBlocks());
}

TEST_F(CollectiveOpsTest, ReuseHasRowsOnly) {
  auto op = parse<DispatchOp>(R"mlir(
    shard.grid @ep(shape = 4)
    func.func private @f(%x: tensor<10x8xf32>, %send_row: tensor<10x4xi32>) {
      %0 = moe.dispatch %x reuse(%send_row) on @ep {num_experts = 6 : i64}
        : (tensor<10x8xf32>, tensor<10x4xi32>) -> tensor<40x8xf32>
      return
    })mlir");
  ASSERT_TRUE(op);
  EXPECT_TRUE(op.isReuse());
  EXPECT_THAT(op.getOutputKinds(), ElementsAre(Output::RecvX));
  EXPECT_FALSE(op.getRoutingTopkIdx());
  EXPECT_EQ(op.getTopK(), 0);
}

TEST_F(CollectiveOpsTest, MemrefFormCombine) {
  auto op = parse<CombineOp>(R"mlir(
    shard.grid @ep(shape = 2)
    func.func private @f(%y: memref<20x8xf32>, %rows: memref<10x2xi32>,
                         %src: memref<20xi32>, %n: memref<2xi32>,
                         %out: memref<10x8xf32>) {
      moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 6 : i64}
        : (memref<20x8xf32>, memref<10x2xi32>, memref<20xi32>, memref<2xi32>,
           memref<10x8xf32>) -> ()
      return
    })mlir");
  ASSERT_TRUE(op);
  auto collective = cast<CollectiveOpInterface>(op.getOperation());
  EXPECT_FALSE(collective.isTensorForm());
  EXPECT_EQ(collective.getInputs().size(), 4u);
  ASSERT_EQ(collective.getOutputValues().size(), 1u);
  EXPECT_EQ(op.getOut(), op->getOperand(4));
  EXPECT_EQ(op.getTokenBound(), 10);
}

// placement_s1, as far as shapes need it.
TEST(ExpertPlacementTest, BlocksInRankOrder) {
  struct {
    int64_t experts, ranks, base, remainder, most;
  } cases[] = {{8, 4, 2, 0, 2},
               {6, 4, 1, 2, 2},
               {3, 8, 0, 3, 1},
               {256, 3, 85, 1, 86},
               {1, 1, 1, 0, 1}};
  for (auto [experts, ranks, base, remainder, most] : cases) {
    ExpertPlacement placement{experts, ranks};
    EXPECT_EQ(placement.base(), base) << experts << " on " << ranks;
    EXPECT_EQ(placement.remainder(), remainder) << experts << " on " << ranks;
    EXPECT_EQ(placement.maxPerRank(), most) << experts << " on " << ranks;
  }
}

} // namespace
