//===- CApiGroupTest.cpp - groups of the C API in threads
//-------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CApiFixture.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <thread>

static int32_t refuse(void *, const void *, size_t, void *, double) {
  return 7;
}

static int32_t refuseAndExplain(void *, const void *, size_t, void *, double,
                                char *error, size_t errorBytes) {
  snprintf(error, errorBytes, "worker 1 of the pool has left");
  return 1;
}

// Only the embedder knows which rank is missing; callers that were compiled
// before it could say so go on as they are.
TEST(CApiGroupTest, AllGatherThatFails) {
  moert_bootstrap bootstrap{sizeof(bootstrap), 0,      2,
                            nullptr,           refuse, refuseAndExplain};
  moert_context *context = nullptr;
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_PEER_FAILED);
  EXPECT_NE(std::strstr(moert_last_error(),
                        "bootstrap: worker 1 of the pool has left"),
            nullptr)
      << moert_last_error();
  bootstrap.allgather = nullptr;
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_PEER_FAILED);
  bootstrap.allgather = refuse;
  bootstrap.struct_size = offsetof(moert_bootstrap, allgather_explained);
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_PEER_FAILED);
  EXPECT_NE(std::strstr(moert_last_error(), "returned 7"), nullptr)
      << moert_last_error();
  bootstrap.struct_size -= 1;
  EXPECT_EQ(moert_context_create(&bootstrap, nullptr, &context),
            MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(context, nullptr);
}

namespace {
/// An embedder's all-gather among threads.
struct Exchange {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<char> gathering, gathered;
  int size, arrived = 0;
  uint64_t round = 0;
};
struct ExchangeRank {
  Exchange *exchange;
  int rank;
};
} // namespace

static int32_t allGather(void *user, const void *in, size_t bytes, void *out,
                         double timeoutSeconds) {
  auto *self = static_cast<ExchangeRank *>(user);
  Exchange &exchange = *self->exchange;
  std::unique_lock<std::mutex> lock(exchange.mutex);
  uint64_t round = exchange.round;
  exchange.gathering.resize(bytes * exchange.size);
  std::memcpy(exchange.gathering.data() + bytes * self->rank, in, bytes);
  if (++exchange.arrived == exchange.size) {
    exchange.gathered.swap(exchange.gathering);
    exchange.arrived = 0;
    ++exchange.round;
    exchange.changed.notify_all();
  } else if (!exchange.changed.wait_for(
                 lock, std::chrono::duration<double>(timeoutSeconds),
                 [&] { return exchange.round != round; })) {
    return 1;
  }
  std::memcpy(out, exchange.gathered.data(), bytes * exchange.size);
  return 0;
}

/// What an embedder does with one rank of a group of four.
static void embed(int rank, Exchange &exchange) {
  ExchangeRank self{&exchange, rank};
  moert_bootstrap bootstrap{sizeof(bootstrap), rank, 4, &self, allGather};
  moert_options options{sizeof(options), 20, size_t(1) << 30, "host"};
  moert_context *context = nullptr;
  ASSERT_MOERT(moert_context_create(&bootstrap, &options, &context));
  void *block = nullptr;
  ASSERT_MOERT(moert_symm_alloc(context, 64, &block));
  EXPECT_EQ(moert_symm_peer(context, block, rank), block);
  *static_cast<int *>(moert_symm_peer(context, block, (rank + 1) % 4)) = rank;
  moert_artifact *loaded = nullptr;
  ASSERT_MOERT(
      moert_artifact_load(context, artifact("exchange4").c_str(), &loaded));
  EXPECT_EQ(*static_cast<int *>(block), (rank + 3) % 4);
  EXPECT_EQ(moert_symm_peer(context, block, 4), nullptr);
  ASSERT_MOERT(moert_symm_free(context, block));
  moert_entry *gather = nullptr;
  ASSERT_MOERT(moert_artifact_entry(loaded, "gather", &gather));

  int64_t zero = 0;
  DLTensor scalar{};
  scalar.data = &zero;
  scalar.device = {kDLCPU, 0};
  scalar.dtype = {kDLInt, 64, 1};
  Matrix in(rank, 4);
  const DLTensor *inputs[] = {&scalar, &scalar, &in.tensor};
  DLManagedTensor *out = nullptr;
  for (int i = 0; i < 10; ++i) {
    ASSERT_MOERT(moert_entry_call(gather, inputs, 3, &out, 1));
    EXPECT_EQ(out->dl_tensor.shape[0], 6);
    out->deleter(out);
  }
  // One that is still in its last call would hear of the failure there.
  ASSERT_MOERT(moert_symm_alloc(context, 64, &block));
  ASSERT_MOERT(moert_symm_free(context, block));
  // One rank fails, all hear of it, and the group goes on after a reset.
  int64_t mode = rank == 3 ? 1 : 0;
  DLTensor modeTensor = scalar, who = scalar;
  int64_t three = 3;
  modeTensor.data = &mode;
  who.data = &three;
  inputs[0] = &modeTensor;
  inputs[1] = &who;
  EXPECT_EQ(moert_entry_call(gather, inputs, 3, &out, 1),
            rank == 3 ? MOERT_INVALID_EXPERT : MOERT_PEER_FAILED);
  EXPECT_NE(std::strstr(moert_last_error(), "rank 3: test.gather at"), nullptr)
      << moert_last_error();
  EXPECT_EQ(moert_context_failed_rank(context), 3);
  ASSERT_MOERT(moert_context_reset(context));
  inputs[0] = inputs[1] = &scalar;
  ASSERT_MOERT(moert_entry_call(gather, inputs, 3, &out, 1));
  out->deleter(out);
  ASSERT_MOERT(moert_artifact_unload(loaded));
  moert_context_destroy(context);
}

TEST(CApiGroupTest, EmbedderWithItsOwnAllGather) {
  Exchange exchange;
  exchange.size = 4;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 4; ++rank)
    threads.emplace_back([&, rank] { embed(rank, exchange); });
  for (std::thread &thread : threads)
    thread.join();
}
