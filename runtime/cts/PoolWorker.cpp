//===- PoolWorker.cpp - a rank process of the pool ------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Bootstrap/SocketIO.h"
#include "RankPool.h"

#include <cstdio>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::rt::cts;

/// The parent bounds every wait, and its death ends the workers. This is for
/// a parent that is stopped.
static constexpr double parentSeconds = 3600;

static int64_t deadlineAfter(double seconds) {
  return nowNs() + int64_t(seconds * 1e9);
}

void PoolMessage::setText(const std::string &from) {
  size_t length = from.copy(text, sizeof(text) - 1);
  text[length] = '\0';
}

//===----------------------------------------------------------------------===//
// Failures
//===----------------------------------------------------------------------===//

/// Keeps the failures of a group, and prints them in workers that have no
/// other printer.
class PoolWorker::FailureListener : public ::testing::EmptyTestEventListener {
public:
  FailureListener(int rank, bool prints) : rank(rank), prints(prints) {}

  void OnTestPartResult(const ::testing::TestPartResult &part) override {
    if (!part.failed())
      return;
    ++count;
    std::string failure =
        format("%s:%d: %s\n", part.file_name() ? part.file_name() : "?",
               part.line_number(), part.message());
    text += failure;
    if (!prints)
      return;
    std::string lines;
    for (size_t begin = 0, end; begin < failure.size(); begin = end + 1) {
      end = failure.find('\n', begin);
      lines +=
          format("rank %d: ", rank) + failure.substr(begin, end - begin + 1);
    }
    std::fwrite(lines.data(), 1, lines.size(), stdout);
    std::fflush(stdout);
  }

  void beginGroup() {
    count = 0;
    text.clear();
  }

  int count = 0;
  std::string text;

private:
  int rank;
  bool prints;
};

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

static PoolWorker *current = nullptr;

PoolWorker *PoolWorker::get() { return current; }

PoolWorker::PoolWorker(int rank, int size, UniqueFd socket)
    : myRank(rank), poolSize(size), socket(std::move(socket)) {
  current = this;
}

PoolWorker::~PoolWorker() { current = nullptr; }

int PoolWorker::runTests() {
  auto &listeners = ::testing::UnitTest::GetInstance()->listeners();
  if (myRank != 0) {
    delete listeners.Release(listeners.default_result_printer());
    delete listeners.Release(listeners.default_xml_generator());
  }
  failures = new FailureListener(myRank, myRank != 0);
  listeners.Append(failures);
  int code = RUN_ALL_TESTS();
  PoolMessage finished;
  finished.kind = PoolMessage::Finished;
  send(finished);
  return code;
}

void PoolWorker::send(PoolMessage message) {
  int64_t deadline = deadlineAfter(parentSeconds);
  if (!sendAll(socket.get(), &message, sizeof(message), deadline).isOk())
    _exit(1); // The parent is gone, which ends this process anyway.
}

void PoolWorker::receive(PoolMessage &answer, UniqueFd *fd) {
  std::deque<UniqueFd> fds;
  int64_t deadline = deadlineAfter(parentSeconds);
  if (!receiveAll(socket.get(), &answer, sizeof(answer), deadline, fds).isOk())
    _exit(1);
  if (fd && !fds.empty())
    *fd = std::move(fds.front());
}

GroupResult
PoolWorker::runProcesses(int size, const std::function<void(UniqueFd)> &part) {
  GroupResult good{std::vector<int>(size, 0), std::vector<std::string>(size)};
  if (size > poolSize) {
    ADD_FAILURE() << "a group of " << size << " in a pool of " << poolSize;
    return good;
  }
  ++groups;
  if (myRank >= size)
    return good;
  PoolMessage join, answer;
  join.kind = PoolMessage::Join;
  join.group = groups;
  join.number = size;
  auto *test = ::testing::UnitTest::GetInstance()->current_test_info();
  join.setText(format("%s.%s", test->test_suite_name(), test->name()));
  UniqueFd mine;
  send(join);
  receive(answer, &mine);
  if (answer.kind == PoolMessage::Refused) {
    // Worker 0 is told the same and fails the test; once is enough.
    if (myRank == 0)
      ADD_FAILURE() << answer.text;
    return good;
  }
  failures->beginGroup();
  part(std::move(mine));
  PoolMessage ended;
  ended.kind = PoolMessage::Ended;
  ended.group = groups;
  ended.code = failures->count ? 1 : 0;
  ended.setText(failures->text);
  send(ended);
  return myRank == 0 ? awaitRanks(size) : good;
}

GroupResult PoolWorker::awaitRanks(int size) {
  GroupResult result{std::vector<int>(size, -1),
                     std::vector<std::string>(size)};
  for (int i = 0; i < size; ++i) {
    PoolMessage end;
    receive(end);
    if (end.number < 0 || end.number >= size)
      continue;
    result.exitCodes[end.number] = end.code;
    // Its own failures are there already.
    if (end.number != 0)
      result.texts[end.number] = end.text;
  }
  return result;
}

GroupResult PoolWorker::runThreads(int size,
                                   const std::function<GroupResult()> &run) {
  if (myRank != 0)
    return {std::vector<int>(size, 0), {}};
  PoolMessage alive;
  alive.kind = PoolMessage::Alive;
  send(alive);
  return run();
}
