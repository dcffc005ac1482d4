//===- CApiThreadGroupTest.cpp - thread ranks and details of errors -------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"
#include "moe-runtime/Runtime.h"

#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

static moert_error_info lastInfo() {
  moert_error_info info{};
  info.struct_size = sizeof(info);
  EXPECT_EQ(moert_last_error_info(&info), MOERT_OK);
  return info;
}

/// Runs `body` on the ranks of a group of threads.
static void runThreads(int size, const moert_options &options,
                       const std::function<void(moert_context *)> &body) {
  moert_thread_group *group = nullptr;
  ASSERT_EQ(moert_thread_group_create(size, &group), MOERT_OK);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([=] {
      moert_context *context = nullptr;
      ASSERT_EQ(
          moert_context_create_in_threads(group, rank, &options, &context),
          MOERT_OK)
          << moert_last_error();
      body(context);
      moert_context_destroy(context);
    });
  for (std::thread &thread : threads)
    thread.join();
  moert_thread_group_destroy(group);
}

TEST(CApiThreadGroupTest, RanksOfThreads) {
  moert_options options{sizeof(moert_options), 20, 0, nullptr, -1};
  std::vector<int> seen(3);
  runThreads(3, options, [&](moert_context *context) {
    EXPECT_EQ(moert_context_size(context), 3);
    EXPECT_STREQ(moert_context_target(context), "host");
    EXPECT_EQ(moert_context_num_hosts(context), 1);
    EXPECT_EQ(moert_context_host_of(context, 2), 0);
    EXPECT_EQ(moert_context_host_of(context, 3), -1);
    EXPECT_STRNE(moert_context_host_name(context, 0), "");
    EXPECT_STREQ(moert_context_host_name(context, 1), "");
    seen[moert_context_rank(context)] = 1;
    void *block = nullptr;
    ASSERT_EQ(moert_symm_alloc(context, 64, &block), MOERT_OK);
    EXPECT_NE(block, nullptr);
  });
  EXPECT_EQ(seen, (std::vector<int>{1, 1, 1}));
}

TEST(CApiThreadGroupTest, MisuseOfAThreadGroup) {
  moert_thread_group *group = nullptr;
  EXPECT_EQ(moert_thread_group_create(0, &group), MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "a group of 0 ranks; it has 1 to 65536");
  ASSERT_EQ(moert_thread_group_create(1, &group), MOERT_OK);
  moert_context *context = nullptr, *second = nullptr;
  EXPECT_EQ(moert_context_create_in_threads(group, 1, nullptr, &context),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "rank 1 of a group of 1");
  ASSERT_EQ(moert_context_create_in_threads(group, 0, nullptr, &context),
            MOERT_OK);
  EXPECT_EQ(moert_context_create_in_threads(group, 0, nullptr, &second),
            MOERT_INVALID_ARGUMENT);
  EXPECT_STREQ(moert_last_error(), "rank 0 of the group has a context already");
  moert_thread_group_destroy(group);
  EXPECT_EQ(moert_context_size(context), 1);
  moert_context_destroy(context);
  moert_thread_group_destroy(nullptr);
}

/// A rank that does not come is named, and nobody waits longer for it.
TEST(CApiThreadGroupTest, RankThatNobodyTakes) {
  moert_thread_group *group = nullptr;
  ASSERT_EQ(moert_thread_group_create(2, &group), MOERT_OK);
  moert_options options{sizeof(moert_options), 0.2, 0, nullptr, -1};
  moert_context *context = nullptr;
  EXPECT_EQ(moert_context_create_in_threads(group, 0, &options, &context),
            MOERT_TIMEOUT);
  EXPECT_STREQ(moert_last_error(), "rank 0: setting up the group: rank 1 did "
                                   "not arrive within 0.2 s");
  EXPECT_EQ(lastInfo().peer, 1);
  EXPECT_EQ(context, nullptr);
  EXPECT_EQ(moert_context_create_in_threads(group, 1, &options, &context),
            MOERT_TIMEOUT);
  moert_thread_group_destroy(group);
}

TEST(CApiThreadGroupTest, DetailsOfAnErrorOnAllRanks) {
  moert_options options{sizeof(moert_options), 20, 0, nullptr, -1};
  runThreads(2, options, [](moert_context *context) {
    int rank = moert_context_rank(context);
    moert_artifact *loaded = nullptr;
    // Rank 1 cannot read the file.
    std::string path = artifact(rank == 0 ? "exchange2" : "no-such-file");
    moert_code code = moert_artifact_load(context, path.c_str(), &loaded);
    moert_error_info info = lastInfo();
    EXPECT_EQ(code, rank == 1 ? MOERT_IO : MOERT_PEER_FAILED);
    EXPECT_EQ(info.code, code);
    EXPECT_EQ(info.cause, MOERT_IO);
    EXPECT_EQ(info.rank, rank);
    EXPECT_EQ(info.origin, 1);
    EXPECT_STREQ(info.message, moert_last_error());
    EXPECT_STREQ(info.op, "");
    EXPECT_EQ(info.peer, -1);
  });
}

TEST(CApiThreadGroupTest, DetailsAfterASuccess) {
  moert_context *context = nullptr;
  EXPECT_EQ(moert_context_check(nullptr), MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(lastInfo().code, MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(lastInfo().rank, -1);
  ASSERT_EQ(moert_context_create(nullptr, nullptr, &context), MOERT_OK);
  EXPECT_EQ(lastInfo().code, MOERT_OK);
  EXPECT_STREQ(lastInfo().message, "");
  moert_context_destroy(context);
}

/// Callers that know fewer fields get these alone.
TEST(CApiThreadGroupTest, DetailsForAnOlderCaller) {
  EXPECT_EQ(moert_context_check(nullptr), MOERT_INVALID_ARGUMENT);
  moert_error_info info{};
  info.struct_size = offsetof(moert_error_info, rank);
  info.rank = 77;
  EXPECT_EQ(moert_last_error_info(&info), MOERT_OK);
  EXPECT_EQ(info.code, MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(info.struct_size, offsetof(moert_error_info, rank));
  EXPECT_EQ(info.rank, 77);
  info.struct_size = 0;
  EXPECT_EQ(moert_last_error_info(&info), MOERT_INVALID_ARGUMENT);
  EXPECT_EQ(moert_last_error_info(nullptr), MOERT_INVALID_ARGUMENT);
}
