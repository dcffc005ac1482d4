//===- ThreadChannel.h - messages between threads ---------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_UNITTESTS_THREADCHANNEL_H
#define MOE_RUNTIME_UNITTESTS_THREADCHANNEL_H

#include "moe-runtime/MessageChannel.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

namespace moe::rt::tests {

/// What ranks that are threads have sent each other.
class ThreadChannel : public MessageChannel {
public:
  /// A rank's messages by their senders.
  struct Mailbox {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<int, std::deque<std::string>> bySender;
  };
  using Mailboxes = std::vector<Mailbox>;

  ThreadChannel(std::shared_ptr<Mailboxes> boxes, int rank)
      : boxes(std::move(boxes)), myRank(rank) {}

  static std::vector<std::unique_ptr<ThreadChannel>> create(int size) {
    auto boxes = std::make_shared<Mailboxes>(size);
    std::vector<std::unique_ptr<ThreadChannel>> all;
    for (int r = 0; r < size; ++r)
      all.push_back(std::make_unique<ThreadChannel>(boxes, r));
    return all;
  }

  int rank() const override { return myRank; }
  int size() const override { return static_cast<int>(boxes->size()); }

  Status send(int peer, std::string message) override {
    ++numSent;
    Mailbox &box = (*boxes)[peer];
    std::lock_guard<std::mutex> lock(box.mutex);
    box.bySender[myRank].push_back(std::move(message));
    box.changed.notify_one();
    return Status::ok();
  }

  Expected<std::string> receive(int peer, double seconds) override {
    Mailbox &box = (*boxes)[myRank];
    std::unique_lock<std::mutex> lock(box.mutex);
    std::deque<std::string> &queue = box.bySender[peer];
    if (!box.changed.wait_for(lock, std::chrono::duration<double>(seconds),
                              [&] { return !queue.empty(); }))
      return Status(MOERT_TIMEOUT, "no message");
    std::string message = std::move(queue.front());
    queue.pop_front();
    return message;
  }

  int numSent = 0;

private:
  std::shared_ptr<Mailboxes> boxes;
  int myRank;
};

} // namespace moe::rt::tests

#endif // MOE_RUNTIME_UNITTESTS_THREADCHANNEL_H
