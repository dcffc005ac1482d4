//===- SignalTest.cpp - conformance: put, signal, wait, read --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Group.h"

using namespace moe::rt;
using namespace moe::rt::cts;

namespace {
class SignalTest : public GroupTest {};
} // namespace

INSTANTIATE_TEST_SUITE_P(Signal, SignalTest,
                         ::testing::Values(RankKind::Threads,
                                           RankKind::Processes),
                         kindName);

namespace {
/// A mailbox as it lies in symmetric memory.
struct Mailbox {
  static constexpr int words = 61;
  uint64_t arrived; ///< epoch of the payload
  uint64_t taken;   ///< epoch up to which the next rank has read mine
  uint64_t payload[words];
};
} // namespace

/// put; signal -> wait; read. A payload that is older than its signal would
/// show a wrong word.
static void passMessages(Context &context, int iterations) {
  Backend &device = context.device();
  int rank = context.rank(), size = context.size();
  int next = (rank + 1) % size, previous = (rank + size - 1) % size;
  auto block = context.symmAlloc(sizeof(Mailbox));
  ASSERT_OK(block.status());
  auto mailboxOf = [&](int r) {
    return reinterpret_cast<Mailbox *>(context.heap().peer(*block, r));
  };
  Mailbox *mine = mailboxOf(rank);
  for (uint64_t epoch = 1; epoch <= uint64_t(iterations); ++epoch) {
    TimeLimit deadline(60);
    ASSERT_OK(device.wait(&mine->taken, epoch - 1, deadline));
    uint64_t payload[Mailbox::words];
    for (int i = 0; i < Mailbox::words; ++i)
      payload[i] = epoch * 1000003 + rank * 64 + i;
    ASSERT_OK(
        device.copyIn(mailboxOf(next)->payload, payload, sizeof(payload)));
    ASSERT_OK(device.signal(&mailboxOf(next)->arrived, epoch));

    ASSERT_OK(device.wait(&mine->arrived, epoch, deadline));
    ASSERT_OK(device.copyOut(payload, mine->payload, sizeof(payload)));
    for (int i = 0; i < Mailbox::words; ++i)
      ASSERT_EQ(payload[i], epoch * 1000003 + previous * 64 + i)
          << "rank " << rank << " epoch " << epoch << " word " << i;
    ASSERT_OK(device.signal(&mailboxOf(previous)->taken, epoch));
  }
  ASSERT_OK(context.boot().barrier());
}

TEST_P(SignalTest, MessagePassing) {
  for (int size : {1, 2, 3, 8})
    runGroup(GetParam(), size, [&](Context &context) {
      passMessages(context, size > 3 ? 500 : 5000);
    });
}

TEST_P(SignalTest, WaitEndsWithTheGuardsError) {
  runGroup(GetParam(), 2, [](Context &context) {
    auto block = context.symmAlloc(8);
    ASSERT_OK(block.status());
    auto *flag = reinterpret_cast<uint64_t *>(*block);
    ASSERT_OK(context.device().signal(flag, 3));
    TimeLimit deadline(0.05);
    Status status = context.device().wait(flag, 4, deadline);
    EXPECT_EQ(status.code(), MOERT_TIMEOUT);
    EXPECT_EQ(status.message(), "saw 3");
    // A larger value than awaited is as good.
    ASSERT_OK(context.device().wait(flag, 2, deadline));
    ASSERT_OK(context.boot().barrier());
  });
}
