//===- HostGroup.h - groups of several hosts for tests ----------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Hosts of this machine that differ by their ids alone. Ranks are threads, or
/// processes that may die.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_UNITTESTS_HOSTGROUP_H
#define MOE_RUNTIME_UNITTESTS_HOSTGROUP_H

#include "BootstrapGroup.h"
#include "moe-runtime/Context.h"
#include "moe-runtime/Deadline.h"

#include <csignal>
#include <functional>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moe::rt::tests {

/// "aabb": the hosts of ranks 0 to 3.
using Hosts = std::string;

inline ContextOptions optionsOf(const Hosts &hosts, int rank,
                                double timeoutSeconds) {
  ContextOptions options;
  options.timeoutSeconds = timeoutSeconds;
  // Race detectors leave little address space.
  options.symmReserveBytes = size_t(1) << 24;
  options.hostId = std::string("host-") + hosts[rank];
  return options;
}

/// Runs `body` on ranks that are threads.
inline void runOnHosts(const Hosts &hosts,
                       const std::function<void(Context &)> &body,
                       double timeoutSeconds = 20) {
  int size = static_cast<int>(hosts.size());
  auto bootstraps = createThreadBootstraps(size);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      auto context = Context::create(std::move(bootstraps[r]),
                                     optionsOf(hosts, r, timeoutSeconds));
      ASSERT_TRUE(context.isOk()) << context.status().message();
      body(**context);
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// Waits until `isSo`, and fails the test when that takes long.
inline void waitUntil(const char *what, const std::function<bool()> &isSo) {
  for (Deadline deadline(60); !isSo(); usleep(1000))
    ASSERT_FALSE(deadline.isOver()) << "waited in vain: " << what;
}

/// Ranks that are processes.
class HostProcesses {
public:
  /// Starts them; `body` ends each of them.
  HostProcesses(const Hosts &hosts, const std::function<void(Context &)> &body,
                double timeoutSeconds = 20) {
    int size = static_cast<int>(hosts.size());
    std::vector<UniqueFd> ours, theirs;
    for (int r = 0; r < size; ++r) {
      int pair[2];
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
      ours.emplace_back(pair[0]);
      theirs.emplace_back(pair[1]);
    }
    fflush(nullptr);
    for (int r = 0; r < size; ++r) {
      pids.push_back(fork());
      if (pids.back() != 0)
        continue;
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      UniqueFd socket = std::move(theirs[r]);
      ours.clear();
      theirs.clear();
      runRank(createSocketBootstrap(std::move(socket), r, size),
              optionsOf(hosts, r, timeoutSeconds), body);
      fflush(nullptr);
      _exit(::testing::Test::HasFailure() ? 1 : 0);
    }
    theirs.clear();
    hub = std::make_unique<ServedHub>(std::move(ours));
  }
  ~HostProcesses() {
    for (size_t r = 0; r < pids.size(); ++r)
      if (pids[r] > 0) {
        kill(pids[r], SIGKILL);
        (void)end(static_cast<int>(r));
      }
  }

  /// Waits for a rank; 128 and the signal for one that was killed.
  int end(int rank) {
    int status = 0;
    EXPECT_EQ(waitpid(pids[rank], &status, 0), pids[rank]);
    pids[rank] = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

private:
  static void runRank(std::unique_ptr<Bootstrap> bootstrap,
                      const ContextOptions &options,
                      const std::function<void(Context &)> &body) {
    auto context = Context::create(std::move(bootstrap), options);
    ASSERT_TRUE(context.isOk()) << context.status().message();
    body(**context);
  }

  std::vector<pid_t> pids;
  std::unique_ptr<ServedHub> hub;
};

} // namespace moe::rt::tests

#endif // MOE_RUNTIME_UNITTESTS_HOSTGROUP_H
