//===- StartUpTest.cpp - tests of what it costs to make a group -----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostGroup.h"
#include "moe-runtime/HostBootstrap.h"

#include <pthread.h>

using namespace moe::rt;
using namespace moe::rt::tests;

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

namespace {
/// A rank of many: its thread has a small stack.
struct SmallThread {
  std::function<void()> body;
  pthread_t thread;

  void start() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    ASSERT_EQ(pthread_create(&thread, &attributes, run, this), 0);
    pthread_attr_destroy(&attributes);
  }
  static void *run(void *self) {
    static_cast<SmallThread *>(self)->body();
    return nullptr;
  }
};
} // namespace

/// The host map, and what ranks of a host have among themselves.
TEST(StartUpTest, MessagesGrowWithTheLogarithmOfTheRanks) {
  constexpr int size = 1024, logarithm = 10, ranksPerHost = 8;
  auto channels = ThreadChannel::create(size);
  std::vector<int> sent(size);
  std::atomic<int> numRight{0};
  std::vector<SmallThread> threads(size);
  for (int r = 0; r < size; ++r) {
    threads[r].body = [&, r] {
      ThreadChannel *channel = channels[r].get();
      auto bootstrap = createMessageBootstrap(std::move(channels[r]));
      bootstrap->setTimeout(60);
      auto map = HostMap::create(
          *bootstrap,
          HostIdentity{"machine " + std::to_string(r / ranksPerHost), "",
                       "node"});
      if (!map.isOk() || map->numHosts() != size / ranksPerHost)
        return;
      auto onHost = createHostBootstrap(*bootstrap, *map);
      int mine = r, all[ranksPerHost] = {};
      Status status = onHost->allGather(&mine, sizeof(mine), all);
      if (status.isOk())
        status = bootstrap->barrier();
      sent[r] = channel->numSent;
      numRight += status.isOk() && all[0] == r / ranksPerHost * ranksPerHost;
    };
    threads[r].start();
  }
  for (SmallThread &thread : threads)
    pthread_join(thread.thread, nullptr);
  EXPECT_EQ(numRight, size);
  // Three collectives.
  for (int r = 0; r < size; ++r)
    EXPECT_LE(sent[r], 3 * logarithm) << "rank " << r;
}

//===----------------------------------------------------------------------===//
// Collectives
//===----------------------------------------------------------------------===//

namespace {
/// Counts what a rank asks of another bootstrap.
class Counting : public Bootstrap {
public:
  Counting(std::unique_ptr<Bootstrap> inner, std::atomic<int> &count)
      : inner(std::move(inner)), count(count) {}
  int rank() const override { return inner->rank(); }
  int size() const override { return inner->size(); }
  Status allGather(const void *in, size_t bytes, void *out) override {
    ++count;
    inner->setTimeout(timeout);
    return inner->allGather(in, bytes, out);
  }
  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override {
    ++count;
    inner->setTimeout(timeout);
    return inner->exchangeFds(fd, out);
  }

private:
  std::unique_ptr<Bootstrap> inner;
  std::atomic<int> &count;
};
} // namespace

/// Collectives per rank until there is a context. Descriptors pass by a
/// collective of the bootstrap's own on one host, and by two all-gathers on
/// several.
static double countCollectives(const Hosts &hosts) {
  int size = static_cast<int>(hosts.size());
  std::atomic<int> count{0};
  auto bootstraps = createThreadBootstraps(size);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      auto context = Context::create(
          std::make_unique<Counting>(std::move(bootstraps[r]), count),
          optionsOf(hosts, r, 20));
      ASSERT_TRUE(context.isOk()) << context.status().message();
    });
  for (std::thread &thread : threads)
    thread.join();
  return double(count) / size;
}

TEST(StartUpTest, CollectivesDoNotDependOnTheRanks) {
  EXPECT_EQ(countCollectives("a"), 7);
  EXPECT_EQ(countCollectives("aaaa"), 7);
  double several = countCollectives("ab");
  EXPECT_EQ(several, 15);
  EXPECT_EQ(countCollectives("aabbbccd"), several);
}
