//===- HostMapTest.cpp - tests of which ranks share a host ----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/HostMap.h"
#include "BootstrapGroup.h"

#include <optional>

using namespace moe::rt;
using namespace moe::rt::tests;

using Identities = std::vector<HostIdentity>;

/// Makes the map of ranks with these identities. All ranks have to find the
/// same, which rank 0's stands for; `errors` gets the errors of all.
static std::optional<HostMap>
createMap(const std::vector<Expected<HostIdentity>> &identities,
          std::vector<Status> *errors = nullptr) {
  int size = static_cast<int>(identities.size());
  std::vector<std::optional<HostMap>> maps(size);
  std::vector<Status> statuses(size);
  Group group(Kind::Threads, size);
  group.run([&](Bootstrap &bootstrap) {
    int rank = bootstrap.rank();
    auto map = HostMap::create(bootstrap, identities[rank]);
    statuses[rank] = map.status();
    if (map.isOk())
      maps[rank] = map.take();
  });
  for (int r = 0; r < size; ++r) {
    EXPECT_EQ(maps[r].has_value(), maps[0].has_value());
    if (!errors) {
      EXPECT_TRUE(statuses[r].isOk()) << statuses[r].message();
    }
    if (maps[r] && maps[0]) {
      EXPECT_EQ(maps[r]->describe(), maps[0]->describe());
    }
  }
  if (errors)
    *errors = statuses;
  return maps[0];
}

static std::vector<Expected<HostIdentity>> of(const Identities &identities) {
  return {identities.begin(), identities.end()};
}

TEST(HostMapTest, ProcessesOfOneMachine) {
  Group group(Kind::Sockets, 3);
  group.run([](Bootstrap &bootstrap) {
    auto map = HostMap::create(bootstrap);
    ASSERT_TRUE(map.isOk()) << map.status().message();
    EXPECT_TRUE(map->isOneHost());
    EXPECT_EQ(map->ranksOf(0), (std::vector<int>{0, 1, 2}));
    EXPECT_EQ(map->describe(), HostMap::oneHost(3).describe());
  });
}

TEST(HostMapTest, HostsAreNumberedByTheirLowestRanks) {
  auto map = createMap(of({{"m1", "", "node1"},
                           {"m2", "", "node2"},
                           {"m1", "", "node1"},
                           {"m3", "", "node3"},
                           {"m2", "", "node2"}}));
  ASSERT_TRUE(map);
  EXPECT_EQ(map->numHosts(), 3);
  EXPECT_FALSE(map->isOneHost());
  EXPECT_EQ(map->ranksOf(0), (std::vector<int>{0, 2}));
  EXPECT_EQ(map->ranksOf(1), (std::vector<int>{1, 4}));
  EXPECT_EQ(map->hostOf(3), 2);
  EXPECT_EQ(map->leaderOf(4), 1);
  EXPECT_TRUE(map->areTogether(0, 2));
  EXPECT_FALSE(map->areTogether(0, 1));
  EXPECT_EQ(map->describe(), "node1 (ranks 0 and 2), node2 (ranks 1 and 4) and "
                             "node3 (rank 3)");
}

TEST(HostMapTest, EqualNamesOfDifferentMachinesAreNumbered) {
  auto map = createMap(of({{"m1", "", "box"}, {"m2", "", "box"}}));
  ASSERT_TRUE(map);
  EXPECT_EQ(map->describe(), "box#0 (rank 0) and box#1 (rank 1)");
}

TEST(HostMapTest, ManyRanksAndHostsAreSummedUp) {
  Identities identities;
  for (int r = 0; r < 40; ++r)
    identities.push_back({format("m%d", r / 4), "", format("n%d", r / 4)});
  auto map = createMap(of(identities));
  ASSERT_TRUE(map);
  EXPECT_EQ(map->describe(1), "n1 (ranks 4 to 7)");
  std::string text = map->describe();
  EXPECT_NE(text.find("n6 (ranks 24 to 27) and 3 more hosts"),
            std::string::npos)
      << text;
}

TEST(HostMapTest, AnIdSplitsAMachine) {
  auto map = createMap(of({{"m1", "a", "x"},
                           {"m1", "b", "x"},
                           {"m1", "a", "x"},
                           {"m2", "c", "y"}}));
  ASSERT_TRUE(map);
  EXPECT_EQ(map->describe(), "a (ranks 0 and 2), b (rank 1) and c (rank 3)");
}

TEST(HostMapTest, AnIdDoesNotJoinMachines) {
  std::vector<Status> errors;
  createMap(of({{"m1", "a", "x"}, {"m1", "b", "x"}, {"m2", "a", "y"}}),
            &errors);
  for (const Status &error : errors) {
    EXPECT_EQ(error.code(), MOERT_INVALID_ARGUMENT);
    EXPECT_NE(error.message().find("MOE_HOSTID is 'a' on ranks 0 and 2, which "
                                   "are on different machines"),
              std::string::npos)
        << error.message();
  }
}

TEST(HostMapTest, AnIdIsForAllRanks) {
  std::vector<Status> errors;
  createMap(of({{"m1", "", "x"}, {"m1", "b", "b"}}), &errors);
  for (const Status &error : errors) {
    EXPECT_NE(error.message().find("MOE_HOSTID is 'b' on rank 1, but not set "
                                   "on rank 0"),
              std::string::npos)
        << error.message();
  }
}

TEST(HostMapTest, IdsThatAreRefused) {
  EXPECT_TRUE(HostIdentity::find(nullptr).isOk());
  EXPECT_EQ(HostIdentity::find("node-1.a")->id, "node-1.a");
  EXPECT_TRUE(HostIdentity::find(std::string(63, 'x').c_str()).isOk());
  auto errorOf = [](const std::string &id) {
    return HostIdentity::find(id.c_str()).status().message();
  };
  EXPECT_NE(errorOf("").find("MOE_HOSTID is empty"), std::string::npos);
  EXPECT_NE(errorOf(std::string(64, 'x')).find("64 characters"),
            std::string::npos);
  EXPECT_NE(errorOf("two words").find("not printable"), std::string::npos);
  EXPECT_NE(errorOf("a\nb").find("not printable"), std::string::npos);
}

TEST(HostMapTest, ARefusedIdIsToldToAll) {
  std::vector<Status> errors;
  createMap({HostIdentity{"m", "a", "a"},
             HostIdentity::find(std::string(100, 'x').c_str())},
            &errors);
  EXPECT_EQ(errors[0].code(), MOERT_PEER_FAILED);
  EXPECT_EQ(errors[0].message(),
            "finding the hosts of the ranks: rank 1 failed: MOE_HOSTID has 100 "
            "characters, of which there may be 63");
  EXPECT_EQ(errors[1].code(), MOERT_INVALID_ARGUMENT);
}
