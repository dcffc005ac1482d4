//===- GroupMain.cpp - exchanges of one group that others have started ----===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The part of the conformance suite that needs nothing but a group. This
/// process is one of its ranks, which a launcher has started; all ranks run the
/// same tests in the same order. Environment:
///   MOE_CTS_BACKEND  "host" or "cuda"
///   MOE_CTS_DEVICE   GPU of this rank, by default the rank modulo their number
///   MOE_CTS_TIMEOUT  seconds; 20 by default
///   MOE_CTS_DIES     the rank that is killed in the last test's exchange
///
//===----------------------------------------------------------------------===//

#include "ExchangeCases.h"
#include "moe-runtime/LaunchedJob.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace moe::rt;
using namespace moe::rt::cts;

static const char *setting(const char *name, const char *otherwise) {
  const char *text = std::getenv(name);
  return text && *text ? text : otherwise;
}

static bool isOnGpu() {
  return std::strcmp(setting("MOE_CTS_BACKEND", "host"), "cuda") == 0;
}

const BackendUnderTest moe::rt::cts::backendUnderTest = {
    isOnGpu() ? "cuda" : "host", isOnGpu() ? "cuda/" : "", 0, false, nullptr,
    /*mayLackTransport=*/false};

/// This process's rank; null where there is no group.
static std::unique_ptr<Context> context;
static Artifact *artifact = nullptr;

static Status join() {
  std::optional<LaunchedJob> job;
  std::string error;
  auto environment = [](const char *name) { return std::getenv(name); };
  if (!detectJob(environment, job, error))
    return Status(MOERT_INVALID_ARGUMENT, error);
  ContextOptions options;
  options.timeoutSeconds = std::atof(setting("MOE_CTS_TIMEOUT", "20"));
  options.backend = backendUnderTest.name;
  options.device = std::atoi(setting("MOE_CTS_DEVICE", "-1"));
  std::unique_ptr<Bootstrap> bootstrap = createSoloBootstrap();
  if (job) {
    auto joined = createJobBootstrap(*job, 60);
    if (!joined.isOk())
      return joined.status();
    bootstrap = joined.take();
  }
  auto made = Context::create(std::move(bootstrap), options);
  if (!made.isOk())
    return made.status();
  context = made.take();
  auto loaded = context->load(
      artifactPath(format("messages%d", context->size())), "messages");
  if (!loaded.isOk())
    return loaded.status();
  artifact = *loaded;
  return Status::ok();
}

namespace {
class GroupExchangeTest : public ::testing::TestWithParam<size_t> {};
} // namespace

static std::string caseName(const ::testing::TestParamInfo<size_t> &info) {
  return exchangeCases()[info.param].name;
}

INSTANTIATE_TEST_SUITE_P(Exchange, GroupExchangeTest,
                         ::testing::Range(size_t(0), exchangeCases().size()),
                         caseName);

TEST_P(GroupExchangeTest, Case) {
  exchangeCases()[GetParam()].run(*context, *artifact);
  ASSERT_OK(context->boot().barrier());
}

/// The last one, since the group is lost afterwards.
TEST(GroupFaultTest, RankThatIsKilled) {
  int who = std::atoi(setting("MOE_CTS_DIES", "-1"));
  if (who < 0)
    GTEST_SKIP() << "MOE_CTS_DIES names no rank";
  Status status =
      exchangeCounts(*context, *artifact, sameCounts(context->size(), 300),
                     4000, {dieByKill, who});
  EXPECT_TRUE(status.code() == MOERT_PEER_FAILED ||
              status.code() == MOERT_TIMEOUT)
      << status.message();
  std::printf("error: %s\n", status.message().c_str());
}

int main(int argc, char **argv) {
  // As in the suite for GPUs.
  setenv("CUDA_MODULE_LOADING", "EAGER", /*overwrite=*/0);
  ::testing::InitGoogleTest(&argc, argv);
  if (Status s = join(); !s.isOk()) {
    std::printf("error: %s: %s\n", codeName(s.code()), s.message().c_str());
    return 3;
  }
  int code = RUN_ALL_TESTS();
  context.reset();
  return code;
}
