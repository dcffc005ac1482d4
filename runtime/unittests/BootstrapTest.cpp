//===- BootstrapTest.cpp - tests of how ranks find each other -------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Bootstrap.h"
#include "BootstrapGroup.h"
#include "moe-runtime/MemoryFile.h"
#include "moe-runtime/SocketHub.h"

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::tests;

namespace {
class BootstrapTest : public ::testing::TestWithParam<Kind> {};
} // namespace

static std::string kindName(const ::testing::TestParamInfo<Kind> &info) {
  const char *names[] = {"Threads", "Sockets", "Callbacks", "Messages"};
  return names[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(All, BootstrapTest,
                         ::testing::Values(Kind::Threads, Kind::Sockets,
                                           Kind::Callbacks, Kind::Messages),
                         kindName);

TEST_P(BootstrapTest, AllGatherInRankOrder) {
  for (int size : {1, 2, 5, 64}) {
    Group group(GetParam(), size);
    group.run([&](Bootstrap &bootstrap) {
      EXPECT_EQ(bootstrap.size(), size);
      size_t large = size > 8 ? 1000 : 300000;
      for (size_t bytes : {size_t(1), size_t(8), large}) {
        std::string mine(bytes, char('a' + bootstrap.rank()));
        std::string all(bytes * size, '\0');
        EXPECT_OK(bootstrap.allGather(mine.data(), bytes, all.data()));
        for (int r = 0; r < size; ++r)
          EXPECT_EQ(all.substr(bytes * r, bytes),
                    std::string(bytes, char('a' + r)));
      }
      EXPECT_OK(bootstrap.barrier());
    });
  }
}

TEST_P(BootstrapTest, TextsOfDifferentLengths) {
  Group group(GetParam(), 4);
  group.run([&](Bootstrap &bootstrap) {
    auto texts =
        allGatherText(bootstrap, std::string(bootstrap.rank() * 1000, 'x'));
    ASSERT_TRUE(texts.isOk());
    for (int r = 0; r < 4; ++r)
      EXPECT_EQ((*texts)[r], std::string(r * 1000, 'x'));
    auto empty = allGatherText(bootstrap, "");
    ASSERT_TRUE(empty.isOk());
    EXPECT_EQ((*empty)[3], "");
  });
}

TEST_P(BootstrapTest, DescriptorsReachAllRanks) {
  for (int size : {1, 3, 64}) {
    Group group(GetParam(), size);
    group.run([&](Bootstrap &bootstrap) {
      for (int round = 0; round < 3; ++round) {
        // Rank 1 passes none.
        UniqueFd mine;
        if (bootstrap.rank() != 1)
          mine = createMemoryFile(1000 + bootstrap.rank()).take();
        std::vector<UniqueFd> fds;
        EXPECT_OK(bootstrap.exchangeFds(mine.get(), fds));
        ASSERT_EQ(fds.size(), size_t(size));
        for (int r = 0; r < size; ++r) {
          struct stat info;
          EXPECT_EQ(fds[r].isValid(), r != 1);
          if (r != 1) {
            EXPECT_EQ(fstat(fds[r].get(), &info), 0);
            EXPECT_EQ(info.st_size, 1000 + r);
            EXPECT_NE(fds[r].get(), mine.get());
          }
        }
      }
    });
  }
}

TEST_P(BootstrapTest, StatusOfTheLowestRankThatFailed) {
  Group group(GetParam(), 4);
  group.run([&](Bootstrap &bootstrap) {
    int rank = bootstrap.rank();
    Status mine = rank >= 2 ? makeError(MOERT_IO, "disk %d", rank) : Status();
    Status all = agreeStatus(bootstrap, mine);
    if (rank >= 2) {
      EXPECT_EQ(all.message(), mine.message());
      return;
    }
    EXPECT_EQ(all.code(), MOERT_PEER_FAILED);
    EXPECT_EQ(all.message(), "rank 2 failed: disk 2");
  });
  group.run([&](Bootstrap &bootstrap) {
    EXPECT_OK(agreeStatus(bootstrap, Status::ok()));
  });
}

TEST_P(BootstrapTest, TimeOutNamesTheRanksThatAreMissing) {
  Group group(GetParam(), 4);
  std::atomic<bool> hasBegun{false};
  group.run(
      [&](Bootstrap &bootstrap) {
        bootstrap.setTimeout(4);
        // Over messages rank 3 hears of rank 2 from rank 1, and gives up soon
        // after its own time: rank 1 has to begin first.
        if (bootstrap.rank() == 1)
          hasBegun = true;
        while (!hasBegun)
          usleep(1000);
        if (GetParam() == Kind::Messages && bootstrap.rank() != 1)
          usleep(2000000);
        Status status = bootstrap.barrier();
        ASSERT_FALSE(status.isOk());
        EXPECT_NE(status.message().find("rank 2 did not arrive within 4 s"),
                  std::string::npos)
            << status.message();
        // And again, at once.
        EXPECT_FALSE(bootstrap.barrier().isOk());
      },
      2);
}

TEST_P(BootstrapTest, DifferentSizesAreAnError) {
  Group group(GetParam(), 3);
  group.run([&](Bootstrap &bootstrap) {
    char in[8] = {}, out[24];
    Status status = bootstrap.allGather(in, bootstrap.rank() == 1 ? 4 : 8, out);
    ASSERT_FALSE(status.isOk());
    for (const char *part : {"4", "8", "gathers"})
      EXPECT_NE(status.message().find(part), std::string::npos)
          << status.message();
  });
}

TEST(SocketBootstrapTest, RankThatIsGone) {
  Group group(Kind::Sockets, 3);
  group.ranks[1].reset();
  for (int r : {0, 2}) {
    Status status = group.ranks[r]->barrier();
    EXPECT_EQ(status.code(), MOERT_PEER_FAILED);
    EXPECT_EQ(status.message(), "rank 1 ended before the others");
  }
}

TEST(SocketBootstrapTest, HubThatIsGone) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  close(pair[0]);
  auto bootstrap = createSocketBootstrap(UniqueFd(pair[1]), 0, 2);
  EXPECT_EQ(bootstrap->barrier().code(), MOERT_PEER_FAILED);
}

TEST(SocketBootstrapTest, NonsenseOnTheSocketIsNoHarm) {
  std::vector<UniqueFd> ours;
  int pair[2][2];
  for (auto &each : pair) {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, each), 0);
    ours.emplace_back(each[0]);
  }
  std::string nonsense(1000, 'z');
  ASSERT_EQ(write(pair[0][1], nonsense.data(), nonsense.size()), 1000);
  UniqueFd first(pair[0][1]);
  auto second = createSocketBootstrap(UniqueFd(pair[1][1]), 1, 2);
  ServedHub hub(std::move(ours));
  EXPECT_EQ(second->barrier().message(), "rank 0 ended before the others");
}

TEST(SocketBootstrapTest, ReportsReachTheHub) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  std::vector<UniqueFd> ours;
  ours.emplace_back(pair[0]);
  SocketHub hub(std::move(ours));
  std::string seen;
  hub.onReport = [&](int rank, const std::string &text) {
    EXPECT_EQ(rank, 0);
    seen += text;
  };
  std::string text(50000, 't');
  sendReport(pair[1], text);
  sendReport(pair[1], "!");
  close(pair[1]);
  for (int i = 0; i < 10 && !hub.allClosed(); ++i)
    hub.step(10);
  EXPECT_TRUE(hub.allClosed());
  EXPECT_EQ(seen, text + "!");
}

TEST(CallbackBootstrapTest, FailureOfTheCallback) {
  BootstrapCallbacks callbacks;
  callbacks.allGather = [](const void *, size_t, void *, double, char *,
                           size_t) { return -1; };
  auto bootstrap = createCallbackBootstrap(0, 2, std::move(callbacks));
  EXPECT_EQ(bootstrap->barrier().message(),
            "bootstrap: the all-gather callback returned -1 without saying "
            "why; a rank may be gone or late");
  std::vector<UniqueFd> fds;
  EXPECT_EQ(bootstrap->exchangeFds(-1, fds).code(), MOERT_PEER_FAILED);
}

TEST(ListRanksTest, ReadsLikeASentence) {
  EXPECT_EQ(listRanks({3}), "rank 3");
  EXPECT_EQ(listRanks({1, 3}), "ranks 1 and 3");
  EXPECT_EQ(listRanks({1, 3, 4}), "ranks 1, 3 and 4");
}
