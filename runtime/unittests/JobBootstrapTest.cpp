//===- JobBootstrapTest.cpp - groups of processes that a launcher starts --===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/LaunchedJob.h"

#include <csignal>
#include <functional>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe::rt;

namespace {
/// What a rank does with its bootstrap, or with the error.
using Body = std::function<bool(Expected<std::unique_ptr<Bootstrap>> &)>;
} // namespace

/// Runs a process per rank of `ranks`, of a job of `size` that no other test
/// has. Returns the ranks whose body was false.
static std::vector<int> runJob(int size, const std::vector<int> &ranks,
                               double timeout, const Body &body) {
  static int number = 0;
  std::string id = format("%d/%d", int(getpid()), number++);
  std::vector<pid_t> children;
  for (int rank : ranks) {
    pid_t child = fork();
    if (child == 0) {
      LaunchedJob job{"test", "TEST_RANK", rank, size, id};
      auto made = createJobBootstrap(job, timeout);
      bool isFine = body(made);
      // Destructors run: the host serves until it is destroyed.
      made = Expected<std::unique_ptr<Bootstrap>>(Status(MOERT_IO, ""));
      _exit(isFine ? 0 : 1);
    }
    children.push_back(child);
  }
  std::vector<int> failed;
  for (size_t i = 0; i < children.size(); ++i) {
    int status = 0;
    EXPECT_EQ(waitpid(children[i], &status, 0), children[i]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
      failed.push_back(ranks[i]);
  }
  return failed;
}

static bool is(const Status &status, moert_code code,
               const std::string &message) {
  if (status.code() == code && status.message() == message)
    return true;
  fprintf(stderr, "%s: %s\n", codeName(status.code()),
          status.message().c_str());
  return false;
}

TEST(JobBootstrapTest, ProcessesGatherAndPassDescriptors) {
  auto failed = runJob(4, {0, 1, 2, 3}, 10, [](auto &made) {
    if (!made.isOk())
      return is(made.status(), MOERT_OK, "");
    Bootstrap &boot = **made;
    // More than a socket holds, so that the hub has to send by and by.
    std::vector<char> mine(1 << 20, char('a' + boot.rank())), all(4 << 20);
    if (!boot.allGather(mine.data(), mine.size(), all.data()).isOk())
      return false;
    for (int r = 0; r < 4; ++r)
      if (all[size_t(r) << 20] != 'a' + r ||
          all[(size_t(r + 1) << 20) - 1] != 'a' + r)
        return false;
    int pipes[2];
    std::vector<UniqueFd> fds;
    if (pipe(pipes) != 0 || !boot.exchangeFds(pipes[1], fds).isOk())
      return false;
    return fds.size() == 4 && fds[3].isValid() && boot.barrier().isOk();
  });
  EXPECT_TRUE(failed.empty());
}

TEST(JobBootstrapTest, RanksThatDoNotComeAreNamed) {
  auto failed = runJob(4, {0, 2}, 4, [&](auto &made) {
    // Either may have been the first.
    const Status &status = made.status();
    return status.code() == MOERT_TIMEOUT &&
           status.message().find("ranks 1 and 3 did not come within 4 s") !=
               std::string::npos;
  });
  EXPECT_TRUE(failed.empty());
  failed = runJob(4, {0}, 0.3, [&](auto &made) {
    return is(
        made.status(), MOERT_TIMEOUT,
        "rank 0: ranks 1, 2 and 3 did not come within 0.3 s; each of the "
        "4 processes of the test job (TEST_RANK) has to make the group on "
        "this host");
  });
  EXPECT_TRUE(failed.empty());
}

TEST(JobBootstrapTest, TwoProcessesOfOneRank) {
  auto failed = runJob(3, {1, 1}, 60, [](auto &made) {
    return !made.isOk() &&
           made.status().message().find(
               "a second process says that it is rank 1 of the "
               "3 of this job (TEST_RANK)") != std::string::npos;
  });
  EXPECT_TRUE(failed.empty());
}

/// A rank that is late, or dies, is named by its number, whichever process
/// keeps the group together.
TEST(JobBootstrapTest, RankThatStaysAwayAfterTheMeeting) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  auto failed = runJob(3, {0, 1, 2}, 10, [&](auto &made) {
    if (!made.isOk())
      return false;
    Bootstrap &boot = **made;
    // Not before all are there, which takes a busy machine longer.
    if (!boot.barrier().isOk())
      return false;
    boot.setTimeout(4);
    char done = 0;
    if (boot.rank() == 1) {
      // Away until both others have their error.
      for (int i = 0; i < 2; ++i) {
        pollfd entry{ends[0], POLLIN, 0};
        if (poll(&entry, 1, 60000) != 1 || read(ends[0], &done, 1) != 1)
          return false;
      }
      return true;
    }
    Status status = boot.barrier();
    bool hasTold = write(ends[1], &done, 1) == 1;
    return hasTold &&
           is(status, MOERT_TIMEOUT, "rank 1 did not arrive within 4 s");
  });
  close(ends[0]);
  close(ends[1]);
  EXPECT_TRUE(failed.empty());
}

TEST(JobBootstrapTest, DeathOfARank) {
  auto failed = runJob(3, {0, 1, 2}, 10, [](auto &made) {
    if (!made.isOk())
      return false;
    // The dead one may have kept the group together, and have died before the
    // others had the result of the first barrier.
    Status status = (*made)->barrier();
    if ((*made)->rank() == 1)
      raise(SIGKILL);
    if (status.isOk())
      status = (*made)->barrier();
    return status.code() == MOERT_PEER_FAILED || status.code() == MOERT_IO;
  });
  EXPECT_EQ(failed, std::vector<int>{1});
}

TEST(JobBootstrapTest, SizeThatNobodyTells) {
  auto made = createJobBootstrap({"PMIx", "PMIX_RANK", 1, 0, ""}, 1);
  EXPECT_TRUE(is(made.status(), MOERT_INVALID_ARGUMENT,
                 "PMIX_RANK does not say how many processes the job has; start "
                 "them by a launcher that does, or make the group with an "
                 "all-gather of the program's own"));
}

TEST(LaunchedJobTest, Torchrun) {
  std::map<std::string, std::string> values = {
      {"RANK", "2"}, {"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "4"}};
  auto environment = [&](const char *name) -> const char * {
    auto at = values.find(name);
    return at == values.end() ? nullptr : at->second.c_str();
  };
  std::optional<LaunchedJob> job;
  std::string error;
  // Names that anybody may use for anything mean nothing without torchrun's.
  EXPECT_TRUE(detectJob(environment, job, error));
  EXPECT_FALSE(job);
  values["TORCHELASTIC_RUN_ID"] = "none";
  EXPECT_TRUE(detectJob(environment, job, error));
  ASSERT_TRUE(job);
  EXPECT_EQ(job->launcher, "torchrun");
  EXPECT_EQ(job->rank, 2);
  EXPECT_EQ(job->size, 4);
  values["LOCAL_WORLD_SIZE"] = "2";
  EXPECT_FALSE(detectJob(environment, job, error));
  EXPECT_EQ(error, "the torchrun job has 4 processes, but only 2 on this host "
                   "(LOCAL_WORLD_SIZE); make the group from torch's process "
                   "group (Group.from_torch in Python), or start the processes "
                   "by mpirun or srun");
}

/// Each process would be a group of its own.
TEST(LaunchedJobTest, VariablesOfTorchThatWereSetByHand) {
  std::map<std::string, std::string> values = {{"RANK", "1"},
                                               {"WORLD_SIZE", "2"},
                                               {"MASTER_ADDR", "127.0.0.1"},
                                               {"MASTER_PORT", "29555"}};
  auto environment = [&](const char *name) -> const char * {
    auto at = values.find(name);
    return at == values.end() ? nullptr : at->second.c_str();
  };
  std::optional<LaunchedJob> job;
  std::string error;
  EXPECT_FALSE(detectJob(environment, job, error));
  EXPECT_FALSE(job);
  EXPECT_EQ(error,
            "RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT make this process "
            "one of 2 of torch.distributed, but were not set by torchrun, "
            "which sets TORCHELASTIC_RUN_ID, too; start the processes by "
            "torchrun, or make the group from torch's process group "
            "(Group.from_torch in Python)");
  // A launcher says more.
  values["PMI_RANK"] = "1";
  values["PMI_SIZE"] = "2";
  EXPECT_TRUE(detectJob(environment, job, error));
  ASSERT_TRUE(job);
  EXPECT_EQ(job->launcher, "PMI");
  values.erase("PMI_RANK");
  values.erase("PMI_SIZE");
  values["WORLD_SIZE"] = "1";
  values["RANK"] = "0";
  EXPECT_TRUE(detectJob(environment, job, error));
  EXPECT_FALSE(job);
}

TEST(LaunchedJobTest, JobsOnSeveralHosts) {
  std::map<std::string, std::string> values;
  auto environment = [&](const char *name) -> const char * {
    auto at = values.find(name);
    return at == values.end() ? nullptr : at->second.c_str();
  };
  std::optional<LaunchedJob> job;
  std::string error;
  auto isOnSeveralHosts = [&] {
    EXPECT_TRUE(detectJob(environment, job, error)) << error;
    return job && job->isOnSeveralHosts;
  };
  values = {{"OMPI_COMM_WORLD_RANK", "1"},
            {"OMPI_COMM_WORLD_SIZE", "4"},
            {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};
  EXPECT_FALSE(isOnSeveralHosts());
  values["OMPI_COMM_WORLD_LOCAL_SIZE"] = "3";
  EXPECT_TRUE(isOnSeveralHosts());
  values = {{"SLURM_PROCID", "0"},
            {"SLURM_STEP_ID", "0"},
            {"SLURM_STEP_NUM_TASKS", "4"},
            {"SLURM_STEP_NUM_NODES", "1"}};
  EXPECT_FALSE(isOnSeveralHosts());
  values["SLURM_STEP_NUM_NODES"] = "2";
  EXPECT_TRUE(isOnSeveralHosts());
  values = {{"PMI_RANK", "0"}, {"PMI_SIZE", "4"}, {"MPI_LOCALNRANKS", "2"}};
  EXPECT_TRUE(isOnSeveralHosts());
}
