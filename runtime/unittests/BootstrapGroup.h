//===- BootstrapGroup.h - groups of ranks for tests -------------*- C++ -*-===//
//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_UNITTESTS_BOOTSTRAPGROUP_H
#define MOE_RUNTIME_UNITTESTS_BOOTSTRAPGROUP_H

#include "ThreadChannel.h"
#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/SocketHub.h"

#include <atomic>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <thread>

#define EXPECT_OK(expr)                                                        \
  do {                                                                         \
    Status okStatus = (expr);                                                  \
    EXPECT_TRUE(okStatus.isOk()) << okStatus.message();                        \
  } while (false)

namespace moe::rt::tests {

enum class Kind { Threads, Sockets, Callbacks, Messages };

/// A hub with a thread that serves it.
class ServedHub {
public:
  explicit ServedHub(std::vector<UniqueFd> sockets)
      : hub(std::move(sockets)), server([this] {
          while (!hub.allClosed() && !isStopped)
            hub.step(20);
        }) {}
  ~ServedHub() {
    isStopped = true;
    server.join();
  }
  SocketHub hub;

private:
  std::atomic<bool> isStopped{false};
  std::thread server;
};

/// Makes the bootstraps of a group and keeps what they need.
class Group {
public:
  Group(Kind kind, int size) {
    if (kind == Kind::Threads) {
      ranks = createThreadBootstraps(size);
    } else if (kind == Kind::Sockets) {
      std::vector<UniqueFd> ours;
      for (int r = 0; r < size; ++r) {
        int pair[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        ours.emplace_back(pair[0]);
        ranks.push_back(createSocketBootstrap(UniqueFd(pair[1]), r, size));
      }
      hub = std::make_unique<ServedHub>(std::move(ours));
    } else if (kind == Kind::Messages) {
      for (std::unique_ptr<ThreadChannel> &channel :
           ThreadChannel::create(size))
        ranks.push_back(createMessageBootstrap(std::move(channel)));
    } else {
      // An embedder's all-gather, here by way of threads.
      for (auto &inner : createThreadBootstraps(size)) {
        std::shared_ptr<Bootstrap> shared = std::move(inner);
        int rank = shared->rank();
        BootstrapCallbacks callbacks;
        callbacks.allGather = [shared](const void *in, size_t bytes, void *out,
                                       double timeout, char *error,
                                       size_t errorBytes) {
          shared->setTimeout(timeout);
          Status status = shared->allGather(in, bytes, out);
          if (status.isOk())
            return 0;
          snprintf(error, errorBytes, "%s", status.message().c_str());
          return 1;
        };
        ranks.push_back(
            createCallbackBootstrap(rank, size, std::move(callbacks)));
      }
    }
  }

  /// Runs `body` on all ranks but `absent`, which stays away.
  void run(const std::function<void(Bootstrap &)> &body, int absent = -1) {
    std::vector<std::thread> threads;
    for (auto &rank : ranks)
      if (rank->rank() != absent)
        threads.emplace_back([&] { body(*rank); });
    for (std::thread &thread : threads)
      thread.join();
  }

  std::vector<std::unique_ptr<Bootstrap>> ranks;
  std::unique_ptr<ServedHub> hub;
};

} // namespace moe::rt::tests

#endif // MOE_RUNTIME_UNITTESTS_BOOTSTRAPGROUP_H
