//===- ExchangeCases.cpp - what every transport has to do -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ExchangeCases.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>
#include <random>

using namespace moe::rt;
using namespace moe::rt::cts;

//===----------------------------------------------------------------------===//
// All-gather and all-to-all
//===----------------------------------------------------------------------===//

/// More than transports have room for, unless they move it in parts.
static constexpr size_t manyBytes = 300001;

static Bytes bytesOf(int from, int to, size_t count) {
  Bytes bytes(count);
  for (size_t i = 0; i < count; ++i)
    bytes[i] = char(from * 41 + to * 13 + int(i % 253));
  return bytes;
}

static void gatherBytes(Context &context, Artifact &artifact) {
  for (size_t count :
       {size_t(0), size_t(1), size_t(7), size_t(64), size_t(1000), manyBytes}) {
    Bytes result, expected;
    for (int r = 0; r < context.size(); ++r) {
      Bytes part = bytesOf(r, 0, count);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    ASSERT_OK(callSpread(context, artifact, "all_gather",
                         bytesOf(context.rank(), 0, count), result));
    EXPECT_TRUE(result == expected) << count << " bytes";
  }
}

static void exchangeEqualParts(Context &context, Artifact &artifact) {
  for (size_t count :
       {size_t(0), size_t(1), size_t(7), size_t(64), size_t(1000), manyBytes}) {
    Bytes send, result, expected;
    for (int r = 0; r < context.size(); ++r) {
      Bytes out = bytesOf(context.rank(), r, count);
      Bytes in = bytesOf(r, context.rank(), count);
      send.insert(send.end(), out.begin(), out.end());
      expected.insert(expected.end(), in.begin(), in.end());
    }
    ASSERT_OK(callSpread(context, artifact, "all_to_all", send, result));
    EXPECT_TRUE(result == expected) << count << " bytes per rank";
  }
}

//===----------------------------------------------------------------------===//
// Exchanges of rows
//===----------------------------------------------------------------------===//

namespace {
/// Rows of several buffers between all ranks, which every rank makes from the
/// same seed.
class RandomExchange {
public:
  RandomExchange(uint32_t seed, int size) : random(seed), size(size) {
    int buffers = pick(0, 4);
    for (int b = 0; b < buffers; ++b) {
      Buffer buffer;
      buffer.rowBytes =
          std::array<int64_t, 6>{1, 3, 4, 16, 300, 4096}[pick(0, 5)];
      int most = buffer.rowBytes > 100 ? 20 : 400;
      // Mostly small, often nothing, now and then all to one rank.
      int only = pick(0, 3) == 0 ? pick(0, size - 1) : -1;
      buffer.counts.resize(size, std::vector<int>(size));
      for (auto &row : buffer.counts)
        for (int p = 0; p < size; ++p)
          if (pick(0, 1) && (only < 0 || only == p))
            row[p] = pick(0, most);
      for (int r = 0; r < size; ++r) {
        auto [sends, sendRows] = place(buffer.counts[r]);
        std::vector<int> column(size);
        for (int s = 0; s < size; ++s)
          column[s] = buffer.counts[s][r];
        auto [receives, recvRows] = place(column);
        buffer.sendStarts.push_back(sends);
        buffer.recvStarts.push_back(receives);
        buffer.sendRows.push_back(sendRows);
        buffer.recvRows.push_back(recvRows);
      }
      all.push_back(std::move(buffer));
    }
  }

  void run(Context &context, Artifact &artifact) {
    int me = context.rank();
    std::vector<BufferRows> buffers;
    Bytes send, expected;
    for (size_t b = 0; b < all.size(); ++b) {
      const Buffer &buffer = all[b];
      BufferRows rows;
      rows.rowBytes = buffer.rowBytes;
      rows.sendOffset = int64_t(send.size());
      rows.recvOffset = int64_t(expected.size());
      send.resize(send.size() + buffer.sendRows[me] * buffer.rowBytes, 0x33);
      expected.resize(expected.size() + buffer.recvRows[me] * buffer.rowBytes,
                      untouched);
      for (int peer = 0; peer < size; ++peer) {
        int out = buffer.counts[me][peer], in = buffer.counts[peer][me];
        rows.sendStarts.push_back(buffer.sendStarts[me][peer]);
        rows.sendCounts.push_back(out);
        rows.recvStarts.push_back(buffer.recvStarts[me][peer]);
        rows.recvCounts.push_back(in);
        fill(&send[0] + rows.sendOffset, rows.sendStarts.back(), out, b, me,
             peer);
        fill(&expected[0] + rows.recvOffset, rows.recvStarts.back(), in, b,
             peer, me);
      }
      buffers.push_back(std::move(rows));
    }
    Bytes result(expected.size(), untouched);
    ASSERT_OK(callExchangeRows(context, artifact, buffers, send, result));
    EXPECT_TRUE(result == expected);
  }

private:
  static constexpr char untouched = 0x5a;
  struct Buffer {
    int64_t rowBytes;
    std::vector<std::vector<int>> counts; ///< [sender][receiver]
    /// Of each rank.
    std::vector<std::vector<int>> sendStarts, recvStarts;
    std::vector<int64_t> sendRows, recvRows;
  };

  int pick(int least, int most) {
    return least + int(random() % uint32_t(most - least + 1));
  }

  /// Where the rows of each rank lie: in any order, with gaps. And how many
  /// rows that are, gaps included.
  std::pair<std::vector<int>, int64_t> place(const std::vector<int> &counts) {
    std::vector<int> order(size), starts(size);
    std::iota(order.begin(), order.end(), 0);
    for (int i = size - 1; i > 0; --i)
      std::swap(order[i], order[pick(0, i)]);
    int next = 0;
    for (int rank : order) {
      next += pick(0, 2);
      starts[rank] = next;
      next += counts[rank];
    }
    return {starts, next + 1};
  }

  void fill(char *rows, int start, int count, size_t buffer, int from, int to) {
    int64_t bytes = all[buffer].rowBytes;
    Bytes content = bytesOf(from + int(buffer) * 7, to, size_t(count * bytes));
    std::copy(content.begin(), content.end(), rows + start * bytes);
  }

  std::mt19937 random;
  int size;
  std::vector<Buffer> all;
};
} // namespace

/// MOE_TEST_SEED, or another one in each run.
static uint32_t agreedSeed(Context &context) {
  const char *given = std::getenv("MOE_TEST_SEED");
  uint32_t mine = given ? uint32_t(std::strtoul(given, nullptr, 10))
                        : std::random_device()();
  std::vector<uint32_t> all(context.size());
  EXPECT_TRUE(context.boot().allGather(&mine, sizeof(mine), all.data()).isOk());
  return all[0];
}

static void exchangeRandomRows(Context &context, Artifact &artifact) {
  uint32_t seed = agreedSeed(context);
  const uint32_t rounds = isSanitized ? 3 : 25;
  for (uint32_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE(format("MOE_TEST_SEED=%u, round %u", seed, round));
    RandomExchange(seed + round, context.size()).run(context, artifact);
    if (::testing::Test::HasFatalFailure())
      return;
  }
}

static void allToOne(Context &context, Artifact &artifact) {
  for (int target = 0; target < context.size(); ++target) {
    auto counts = sameCounts(context.size(), 0);
    for (auto &row : counts)
      row[target] = 100;
    ASSERT_OK(exchangeCounts(context, artifact, counts, 1000));
  }
}

static void oneToAll(Context &context, Artifact &artifact) {
  for (int source = 0; source < context.size(); ++source) {
    auto counts = sameCounts(context.size(), 0);
    counts[source] = std::vector<int>(context.size(), 100);
    ASSERT_OK(exchangeCounts(context, artifact, counts, 1000));
  }
}

static void nothing(Context &context, Artifact &artifact) {
  for (int round = 0; round < 3; ++round) {
    ASSERT_OK(
        exchangeCounts(context, artifact, sameCounts(context.size(), 0), 64));
    ASSERT_OK(
        exchangeCounts(context, artifact, sameCounts(context.size(), 5), 0));
  }
  Bytes result;
  ASSERT_OK(callExchangeRows(context, artifact, {}, {}, result));
}

/// Messages of different sizes, all of them large, in both directions at once.
static void large(Context &context, Artifact &artifact) {
  int size = context.size();
  auto counts = sameCounts(size, 0);
  for (int s = 0; s < size; ++s)
    for (int p = 0; p < size; ++p)
      counts[s][p] = 150 + 40 * ((3 * s + p) % 5);
  const int rounds = isSanitized ? 1 : 2;
  for (int round = 0; round < rounds; ++round)
    ASSERT_OK(exchangeCounts(context, artifact, counts, 4099));
}

static void manySmall(Context &context, Artifact &artifact) {
  int size = context.size();
  const int rounds = isSanitized ? 30 : 1000;
  for (int round = 0; round < rounds; ++round) {
    auto counts = sameCounts(size, 0);
    for (int s = 0; s < size; ++s)
      for (int p = 0; p < size; ++p)
        counts[s][p] = (s + p + round) % 3;
    ASSERT_OK(exchangeCounts(context, artifact, counts, 8));
  }
}

/// One rank comes to each exchange much later than the others.
static void slowRank(Context &context, Artifact &artifact) {
  for (int late = 0; late < std::min(context.size(), 3); ++late)
    ASSERT_OK(exchangeCounts(context, artifact, sameCounts(context.size(), 30),
                             1000, {slow, late}));
}

//===----------------------------------------------------------------------===//
// Errors, after which the group goes on
//===----------------------------------------------------------------------===//

/// The last rank fails when the others may be in the middle of an exchange,
/// with messages under way.
static void errorOfOneRank(Context &context, Artifact &artifact) {
  int last = context.size() - 1;
  for (int round = 0; round < 3; ++round) {
    auto counts = sameCounts(context.size(), 200);
    Status status =
        exchangeCounts(context, artifact, counts, 4000, {failHere, last});
    EXPECT_EQ(status.code(),
              context.rank() == last ? MOERT_INVALID_EXPERT : MOERT_PEER_FAILED)
        << status.message();
    EXPECT_NE(status.message().find(
                  format("rank %d: test.exchange at messages.c:3:3, phase "
                         "'exchange': invalid expert",
                         last)),
              std::string::npos)
        << status.message();
    EXPECT_EQ(context.originRank(), last);
    ASSERT_OK(context.reset());
    ASSERT_OK(exchangeCounts(context, artifact, counts, 40));
  }
}

static void otherCollective(Context &context, Artifact &artifact) {
  if (context.size() == 1)
    return;
  Bytes result, send(size_t(context.size()) * 8, 1);
  for (const char *entry : {"all_gather", "all_to_all"}) {
    Status status =
        callSpread(context, artifact, entry, send, result, {otherOrder, 1});
    EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
    for (const char *part : {"ranks call different collectives: rank ",
                             entry == std::string("all_gather")
                                 ? "test.all_gather at messages.c:1:1"
                                 : "test.all_to_all at messages.c:2:2",
                             "test.other at messages.c:4:4"})
      EXPECT_NE(status.message().find(part), std::string::npos)
          << status.message();
    ASSERT_OK(context.reset());
    ASSERT_OK(callSpread(context, artifact, entry, send, result));
  }
}

/// The same where messages of the two do not fit.
static void otherEntry(Context &context, Artifact &artifact) {
  if (context.size() == 1)
    return;
  // Known entries are not compared when they are called.
  Bytes result, send(size_t(context.size()) * 8, 1);
  for (const char *entry : {"all_gather", "all_to_all"})
    ASSERT_OK(callSpread(context, artifact, entry, send, result));
  ASSERT_OK(context.boot().barrier());
  Status status = callSpread(context, artifact,
                             context.rank() == 1 ? "all_gather" : "all_to_all",
                             send, result);
  EXPECT_EQ(status.code(), MOERT_COLLECTIVE_MISMATCH) << status.message();
  ASSERT_OK(context.reset());
  gatherBytes(context, artifact);
}

const std::vector<ExchangeCase> &moe::rt::cts::exchangeCases() {
  static const std::vector<ExchangeCase> cases = {
      {"AllGather", gatherBytes},
      {"AllToAll", exchangeEqualParts},
      {"RandomRows", exchangeRandomRows},
      {"AllToOne", allToOne},
      {"OneToAll", oneToAll},
      {"Nothing", nothing},
      {"Large", large},
      {"ManySmall", manySmall},
      {"SlowRank", slowRank},
      {"ErrorOfOneRank", errorOfOneRank},
      {"OtherCollective", otherCollective},
      {"OtherEntry", otherEntry}};
  return cases;
}
