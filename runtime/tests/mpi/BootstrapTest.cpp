//===- BootstrapTest.cpp - a group's all-gather over MPI ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Ranks.h"
#include "SharedCounters.h"

#include "moe-runtime/Mpi.h"

#include <gtest/gtest.h>
#include <numeric>
#include <poll.h>

using namespace moe::rt;
using namespace moe::rt::test;

static void wait(double seconds) { (void)poll(nullptr, 0, int(seconds * 1e3)); }

static testing::AssertionResult isOk(const Status &status) {
  if (status.isOk())
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << status.message();
}

TEST(MpiBootstrapTest, GathersAnyNumberOfBytesInRankOrder) {
  auto boot = makeBootstrap();
  // More than a message holds, too.
  for (size_t bytes : {size_t(0), size_t(1), size_t(17), size_t(1500000)}) {
    std::vector<unsigned char> mine(bytes), all(bytes * size_t(boot->size()));
    for (size_t i = 0; i < bytes; ++i)
      mine[i] = static_cast<unsigned char>(i * 7 + size_t(boot->rank()));
    ASSERT_TRUE(isOk(boot->allGather(mine.data(), bytes, all.data())));
    size_t wrong = 0;
    for (size_t i = 0; i < all.size(); ++i)
      wrong +=
          all[i] != static_cast<unsigned char>((i % bytes) * 7 + i / bytes);
    EXPECT_EQ(wrong, 0u);
  }
}

/// Messages that this process has sent.
static int numSends = 0;
static int (*realSend)(const void *, int, mpi::Datatype, int, int, mpi::Comm,
                       mpi::Request *);
static int countingSend(const void *data, int count, mpi::Datatype type, int to,
                        int tag, mpi::Comm comm, mpi::Request *request) {
  ++numSends;
  return realSend(data, count, type, to, tag, comm, request);
}

TEST(MpiBootstrapTest, AnAllGatherTakesLogarithmicallyManyMessages) {
  mpi::Library counting = library();
  realSend = counting.issend;
  counting.issend = countingSend;
  auto comm = mpi::Communicator::copy(counting, counting.commWorld, 30);
  ASSERT_TRUE(isOk(comm.status()));
  mpi::MpiBootstrap boot(comm.take());
  std::vector<int> all(size_t(boot.size()));
  int mine = boot.rank(), expected = 0;
  for (int have = 1; have < boot.size(); have *= 2)
    ++expected;
  numSends = 0;
  ASSERT_TRUE(isOk(boot.allGather(&mine, sizeof(mine), all.data())));
  EXPECT_EQ(numSends, expected);
  std::vector<int> ranks(all.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  EXPECT_EQ(all, ranks);
}

TEST(MpiBootstrapTest, RanksThatDoNotComeAreNamed) {
  auto boot = makeBootstrap();
  if (boot->size() < 3)
    GTEST_SKIP() << "needs 3 ranks";
  int absent = boot->size() / 2;
  SharedCounters ended(*boot);
  boot->setTimeout(3);
  // The others come at different times, and all of them before the first one's
  // time is up.
  if (boot->rank() == absent)
    ASSERT_TRUE(ended.await(1, absent));
  else
    wait(0.1 * (boot->rank() % 4));
  Status status = boot->barrier();
  ended[boot->rank()] = 1;
  EXPECT_EQ(status.code(), MOERT_TIMEOUT);
  EXPECT_EQ(status.message(),
            format(boot->rank() == absent
                       ? "bootstrap: rank %d arrived when others had given up "
                         "waiting for it"
                       : "bootstrap: rank %d did not arrive within 3 s",
                   absent));
  // The next steps are those of all ranks again.
  ASSERT_TRUE(ended.await(1));
  boot->setTimeout(30);
  std::vector<int> all(size_t(boot->size()));
  int mine = boot->rank() * 3;
  ASSERT_TRUE(isOk(boot->allGather(&mine, sizeof(mine), all.data())));
  for (int r = 0; r < boot->size(); ++r)
    EXPECT_EQ(all[size_t(r)], 3 * r);
}

TEST(MpiBootstrapTest, DifferentSizesAreAMismatch) {
  auto boot = makeBootstrap(5);
  if (boot->size() < 2)
    GTEST_SKIP() << "needs 2 ranks";
  std::vector<char> mine(64), all(64 * size_t(boot->size()));
  Status status =
      boot->allGather(mine.data(), boot->rank() == 1 ? 24 : 16, all.data());
  // Those who hear only of ranks that agree with them may wait for the others.
  EXPECT_TRUE(status.code() == MOERT_COLLECTIVE_MISMATCH ||
              status.code() == MOERT_TIMEOUT)
      << status.message();
  if (boot->rank() == 1) {
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH);
  }
}

TEST(MpiBootstrapTest, CommunicatorsOfTheCaller) {
  const mpi::Library &mpi = library();
  mpi::Comm world = mpi.commWorld;
  auto made = createMpiBootstrap(&world, 30);
  ASSERT_TRUE(isOk(made.status()));
  EXPECT_TRUE(isOk((*made)->barrier()));
  mpi::Comm null = mpi.commNull;
  for (const void *comm :
       {static_cast<const void *>(&null), static_cast<const void *>(nullptr)}) {
    auto none = createMpiBootstrap(comm, 30);
    EXPECT_EQ(none.status().code(), MOERT_INVALID_ARGUMENT);
    EXPECT_NE(none.status().message().find("MPI_COMM_NULL"), std::string::npos);
  }
}
