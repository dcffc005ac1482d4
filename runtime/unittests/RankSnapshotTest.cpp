//===- RankSnapshotTest.cpp - tests of what other hosts see of a rank -----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Hosts/RankSnapshot.h"
#include "Core/ControlBlock.h"

#include <gtest/gtest.h>

using namespace moe::rt;

static constexpr int numRanks = 3;

static std::unique_ptr<ControlMemory> makeMemory() {
  void *base = mmap(nullptr, ControlMemory::bytesFor(numRanks),
                    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return std::make_unique<ControlMemory>(base, numRanks);
}

/// A rank in the middle of something, with an error.
static void fill(ControlMemory &memory, int rank) {
  RankBlock &block = memory.ranks()[rank];
  block.state = uint32_t(RankState::InCollective);
  block.groupOps = 40;
  block.groupOpsQueued = 39;
  block.groupOpsDone = 39;
  block.groupOpsCompared = 38;
  block.collectives = 300;
  block.pid = 1234;
  block.generation = 5;
  block.phase.store("put");
  memory.collectives()[rank] = 0xabcdef;
  block.error.store(
      Status(MOERT_INVALID_COUNT, "wrong").expecting("even", "odd"));
  memory.group().origin = uint64_t(rank) + 1;
  GroupOpRecord &op = block.groupOpRing[40 % RankBlock::groupOpSlots];
  op.ordinal = 40;
  op.hash = 17;
  op.collectivesBefore = 299;
  op.text.store("call of entry 'layer'");
  CollectiveRecord &collective =
      block.collectiveRing[300 % RankBlock::collectiveSlots];
  collective.ordinal = 300;
  collective.groupOp = 40;
  collective.op.store("moe.dispatch");
  collective.location.store("a.mlir:1:1");
}

TEST(RankSnapshotTest, WhatIsReadIsWritten) {
  auto from = makeMemory(), to = makeMemory();
  fill(*from, 2);
  RankSnapshot snapshot = RankSnapshot::read(*from, 2, false);
  EXPECT_EQ(snapshot.isOrigin, 1u);
  auto decoded = RankSnapshot::decode(snapshot.encode(), numRanks);
  ASSERT_TRUE(decoded);
  decoded->apply(*to);
  // Who is first with an error, the link says.
  to->group().origin = 3;
  EXPECT_EQ(RankSnapshot::read(*to, 2, false).encode(), snapshot.encode());
  Status error = to->ranks()[2].error.load();
  EXPECT_EQ(error.code(), MOERT_INVALID_COUNT);
  EXPECT_EQ(error.details().seen, "odd");
  EXPECT_EQ(to->ranks()[2].fate, uint32_t(RankFate::Well));
  RankSnapshot::read(*from, 2, true).apply(*to);
  EXPECT_EQ(to->ranks()[2].fate, uint32_t(RankFate::Died));
}

/// A record that belongs to another time is none.
TEST(RankSnapshotTest, RecordsThatAreNotTheLastStayAtHome) {
  auto memory = makeMemory();
  fill(*memory, 0);
  memory->ranks()[0].groupOps = 40 + RankBlock::groupOpSlots;
  memory->ranks()[0].collectives = 300 + RankBlock::collectiveSlots;
  RankSnapshot snapshot = RankSnapshot::read(*memory, 0, false);
  EXPECT_EQ(snapshot.opOrdinal, 0u);
  EXPECT_EQ(snapshot.ordinal, 0u);
}

/// Else it would count as one without collectives, and its rank as one that
/// calls others.
TEST(RankSnapshotTest, EndOfAnOperationThatWasNotSeenIsNotGuessed) {
  auto from = makeMemory(), to = makeMemory();
  RankBlock &block = from->ranks()[1], &copy = to->ranks()[1];
  auto begin = [&](uint64_t ordinal) {
    GroupOpRecord &op = block.groupOpRing[ordinal % RankBlock::groupOpSlots];
    op.ordinal = ordinal;
    op.collectivesBefore = op.collectivesAfter = ordinal - 1;
    block.groupOps = ordinal;
  };
  auto end = [&](uint64_t ordinal) {
    block.collectives = ordinal;
    block.groupOpRing[ordinal % RankBlock::groupOpSlots].collectivesAfter =
        ordinal;
    block.groupOpsQueued = ordinal;
  };
  auto tell = [&] { RankSnapshot::read(*from, 1, false).apply(*to); };
  begin(1);
  tell();
  EXPECT_EQ(copy.groupOpRing[1].ordinal, 1u);
  end(1);
  begin(2);
  tell();
  EXPECT_EQ(copy.groupOpsQueued, 1u);
  EXPECT_EQ(copy.groupOpRing[1].ordinal, 0u);
  EXPECT_EQ(copy.groupOpRing[2].ordinal, 2u);
  end(2);
  tell();
  begin(3);
  tell();
  // This end was seen.
  EXPECT_EQ(copy.groupOpRing[2].ordinal, 2u);
  EXPECT_EQ(copy.groupOpRing[2].collectivesAfter, 2u);
}

TEST(RankSnapshotTest, AnOriginWithoutAnErrorIsOfThePast) {
  auto memory = makeMemory();
  fill(*memory, 1);
  clearForReset(*memory, 1, 6);
  RankSnapshot snapshot = RankSnapshot::read(*memory, 1, false);
  EXPECT_EQ(snapshot.isOrigin, 0u);
  EXPECT_EQ(snapshot.generation, 6u);
  EXPECT_EQ(snapshot.groupOps, 0u);
}

TEST(RankSnapshotTest, NonsenseIsRefused) {
  auto memory = makeMemory();
  fill(*memory, 2);
  std::string bytes = RankSnapshot::read(*memory, 2, false).encode();
  EXPECT_TRUE(RankSnapshot::decode(bytes, numRanks));
  EXPECT_FALSE(RankSnapshot::decode(bytes, 2));
  EXPECT_FALSE(RankSnapshot::decode(bytes + "x", numRanks));
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(RankSnapshot::decode(bytes.substr(0, length), numRanks));
  std::string large(bytes.size(), '\xff');
  EXPECT_FALSE(RankSnapshot::decode(large, numRanks));
}
