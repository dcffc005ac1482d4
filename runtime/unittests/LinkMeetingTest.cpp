//===- LinkMeetingTest.cpp - tests of how hosts connect -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BootstrapGroup.h"
#include "Hosts/LinkVisit.h"
#include "TestSupport.h"

#include <arpa/inet.h>
#include <cstring>
#include <optional>
#include <sys/socket.h>

using namespace moe::rt;
using namespace moe::rt::tests;

/// Hosts of one rank each, called host-a, host-b and so on.
static HostMap makeHosts(int size) {
  std::optional<HostMap> map;
  Group group(Kind::Threads, size);
  group.run([&](Bootstrap &bootstrap) {
    std::string id = std::string("host-") + char('a' + bootstrap.rank());
    auto mine = HostMap::create(bootstrap, HostIdentity::find(id.c_str()));
    ASSERT_TRUE(mine.isOk());
    if (bootstrap.rank() == 0)
      map = mine.take();
  });
  return *map;
}

static UniqueFd connectTo(uint32_t port) {
  UniqueFd made(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(uint16_t(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(made.get(), reinterpret_cast<sockaddr *>(&address),
                    sizeof(address)),
            0);
  return made;
}

/// The invitation of a port of this machine's loopback interface.
static LinkInvitation inviteToLoopback(uint32_t port) {
  LinkInvitation invitation{};
  invitation.port = port;
  invitation.numAddresses = 1;
  invitation.addresses[0] = findLinkAddresses("127.0.0.1")->front();
  return invitation;
}

TEST(LinkMeetingTest, StrangersAreShownOut) {
  HostMap hosts = makeHosts(3);
  LinkInvitation invitation;
  auto listener = openLinkListener(64, invitation);
  ASSERT_TRUE(listener.isOk()) << listener.status().message();
  // More than may stay, some of which say what they do not know.
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 100; ++i) {
    strangers.push_back(connectTo(invitation.port));
    std::string guess(i % 2 ? 24 : 0, char(i));
    EXPECT_EQ(write(strangers.back().get(), guess.data(), guess.size()),
              ssize_t(guess.size()));
    // As many as the kernel lets wait are taken in meanwhile.
    if (i == 50)
      break;
  }
  std::vector<std::thread> leaders;
  for (int host : {1, 2})
    leaders.emplace_back([&, host] {
      auto link = visitLink(invitation, host, 20);
      EXPECT_TRUE(link.isOk()) << link.status().message();
      char number = char('0' + host);
      if (link.isOk()) {
        EXPECT_EQ(write(link->get(), &number, 1), 1);
        char answer;
        EXPECT_EQ(recv(link->get(), &answer, 1, MSG_DONTWAIT), -1);
      }
    });
  auto links = receiveLinks(listener->get(), invitation, hosts, 20);
  for (std::thread &leader : leaders)
    leader.join();
  ASSERT_TRUE(links.isOk()) << links.status().message();
  EXPECT_FALSE((*links)[0].isValid());
  for (int host : {1, 2}) {
    char number = 0;
    EXPECT_EQ(recv((*links)[host].get(), &number, 1, 0), 1);
    EXPECT_EQ(number, '0' + host);
  }
}

/// It may have been slow to be answered.
TEST(LinkMeetingTest, AConnectionThatItsLeaderHasGivenUpIsNotTaken) {
  HostMap hosts = makeHosts(2);
  LinkInvitation invitation;
  auto listener = openLinkListener(64, invitation);
  ASSERT_TRUE(listener.isOk()) << listener.status().message();
  LinkHello hello{LinkHello::magicValue, 1, {}};
  std::memcpy(hello.secret, invitation.secret, sizeof(hello.secret));
  UniqueFd left = connectTo(invitation.port);
  ASSERT_EQ(write(left.get(), &hello, sizeof(hello)), ssize_t(sizeof(hello)));
  left.reset();
  LinkReception reception(listener->get(), invitation, 2);
  size_t taken = 0;
  for (int i = 0; i < 10; ++i) {
    reception.step([&](size_t, UniqueFd) { ++taken; });
    usleep(1000);
  }
  EXPECT_EQ(taken, 0u);
  EXPECT_FALSE(reception.isAwaited());
  std::thread leader([&] {
    auto link = visitLink(invitation, 1, 20);
    ASSERT_TRUE(link.isOk()) << link.status().message();
    EXPECT_EQ(write(link->get(), "!", 1), 1);
  });
  auto links = receiveLinks(listener->get(), invitation, hosts, 20);
  leader.join();
  ASSERT_TRUE(links.isOk()) << links.status().message();
  char word = 0;
  EXPECT_EQ(recv((*links)[1].get(), &word, 1, 0), 1);
  EXPECT_EQ(word, '!');
}

/// Each step may come much later than the one before.
TEST(LinkMeetingTest, AVisitGoesOnWhereItWas) {
  LinkInvitation invitation;
  auto listener = openLinkListener(64, invitation);
  ASSERT_TRUE(listener.isOk()) << listener.status().message();
  LinkInvitation toLoopback = invitation;
  toLoopback.numAddresses = 1;
  toLoopback.addresses[0] = findLinkAddresses("127.0.0.1")->front();
  LinkVisit visit(toLoopback, 1, 600);
  LinkReception reception(listener->get(), invitation, 2);
  UniqueFd mine, theirs;
  size_t taken = 0;
  auto take = [&](size_t number, UniqueFd socket) {
    EXPECT_EQ(number, 1u);
    theirs = std::move(socket);
    ++taken;
  };
  // By turns, so that neither end is there while the other one waits.
  for (int i = 0; i < 1000 && !mine.isValid(); ++i) {
    mine = visit.step();
    usleep(1000);
    // Whoever has not got the answer is not taken.
    EXPECT_EQ(taken, 0u);
    reception.step(take);
    usleep(1000);
  }
  for (int i = 0; i < 1000 && !taken; ++i) {
    reception.step(take);
    usleep(1000);
  }
  ASSERT_TRUE(mine.isValid());
  EXPECT_EQ(taken, 1u);
  EXPECT_EQ(write(mine.get(), "!", 1), 1);
  char word = 0;
  EXPECT_EQ(recv(theirs.get(), &word, 1, MSG_DONTWAIT), 1);
}

TEST(LinkMeetingTest, HostsThatDoNotComeAreNamed) {
  HostMap hosts = makeHosts(3);
  LinkInvitation invitation;
  auto listener = openLinkListener(64, invitation);
  ASSERT_TRUE(listener.isOk()) << listener.status().message();
  auto first = connectTo(invitation.port);
  auto links = receiveLinks(listener->get(), invitation, hosts, 0.1);
  EXPECT_EQ(links.status().code(), MOERT_TIMEOUT);
  for (const char *part : {"host-b (rank 1), host-c (rank 2) did not connect",
                           "on host-a at ", "MOE_HOST_INTERFACE"})
    expectPart(links.status().message(), part);
}

TEST(LinkMeetingTest, ThatNobodyListensIsAnError) {
  LinkInvitation invitation;
  auto listener = openLinkListener(64, invitation);
  ASSERT_TRUE(listener.isOk()) << listener.status().message();
  listener->reset();
  auto link = visitLink(inviteToLoopback(invitation.port), 1, 0.1);
  EXPECT_EQ(link.status().code(), MOERT_PEER_FAILED);
  expectPart(link.status().message(), "127.0.0.1: Connection refused");
}

/// Such as a service at an address that two machines have.
TEST(LinkMeetingTest, WhoDoesNotKnowTheAnswerIsNotRankZero) {
  LinkInvitation theirs;
  auto listener = openLinkListener(64, theirs);
  ASSERT_TRUE(listener.isOk()) << listener.status().message();
  std::atomic<bool> isOver{false};
  std::thread service([&] {
    while (!isOver) {
      UniqueFd visitor(
          accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
      char answer[16] = "welcome, friend";
      if (visitor.isValid()) {
        EXPECT_EQ(send(visitor.get(), answer, sizeof(answer), MSG_NOSIGNAL),
                  ssize_t(sizeof(answer)));
        char all[64];
        (void)!recv(visitor.get(), all, sizeof(all), 0);
      }
      usleep(1000);
    }
  });
  auto link = visitLink(inviteToLoopback(theirs.port), 1, 4);
  EXPECT_EQ(link.status().code(), MOERT_PEER_FAILED);
  expectPart(link.status().message(), "127.0.0.1: somebody else answers");
  isOver = true;
  service.join();
}

/// One that swallows what is sent to it, and one where nobody is.
TEST(LinkMeetingTest, AddressesThatLeadNowhereCostNoTime) {
  HostMap hosts = makeHosts(2);
  LinkInvitation invitation;
  auto listener = openLinkListener(64, invitation);
  ASSERT_TRUE(listener.isOk()) << listener.status().message();
  invitation.numAddresses = 3;
  invitation.addresses[0] = findLinkAddresses("192.0.2.1")->front();
  invitation.addresses[1] = findLinkAddresses("fd00:dead::1")->front();
  invitation.addresses[2] = findLinkAddresses("127.0.0.1")->front();
  // The answer comes by the third within much less than a part of this.
  constexpr double most = 600;
  std::thread leader([&] {
    auto link = visitLink(invitation, 1, most);
    EXPECT_TRUE(link.isOk()) << link.status().message();
  });
  auto links = receiveLinks(listener->get(), invitation, hosts, most);
  leader.join();
  EXPECT_TRUE(links.isOk()) << links.status().message();
}

TEST(LinkMeetingTest, AddressesOfAnInterface) {
  auto loopback = findLinkAddresses("lo");
  ASSERT_TRUE(loopback.isOk()) << loopback.status().message();
  EXPECT_EQ(loopback->front().str(), "127.0.0.1");
  auto all = findLinkAddresses(nullptr);
  ASSERT_TRUE(all.isOk()) << all.status().message();
  // Loopback is for machines that have nothing else.
  bool isThere =
      std::find(all->begin(), all->end(), loopback->front()) != all->end();
  EXPECT_TRUE(!isThere || all->front().str() == "127.0.0.1");
  EXPECT_EQ(findLinkAddresses("fd00::1")->front().str(), "fd00::1");
  auto none = findLinkAddresses("none7");
  EXPECT_EQ(none.status().code(), MOERT_INVALID_ARGUMENT);
  for (const char *part : {"MOE_HOST_INTERFACE is 'none7'", "lo (127.0.0.1)"})
    expectPart(none.status().message(), part);
}
