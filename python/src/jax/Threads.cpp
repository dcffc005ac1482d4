//===- Threads.cpp - threads that are kept for the next task --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Threads.h"

#include <chrono>
#include <system_error>
#include <thread>

using namespace moe::py;

Threads &Threads::get() {
  // Never destroyed: its threads run until the process has ended.
  static auto *threads = new Threads;
  return *threads;
}

bool Threads::run(std::function<void()> task) {
  std::lock_guard<std::mutex> lock(mutex);
  if (numIdle <= tasks.size()) {
    try {
      std::thread([this] { serve(); }).detach();
    } catch (const std::system_error &) {
      return false;
    }
  }
  tasks.push_back(std::move(task));
  hasTask.notify_one();
  return true;
}

void Threads::serve() {
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    ++numIdle;
    // The wait without a bound is a symbol of GCC 12's libstdc++, which older
    // systems do not have.
    while (tasks.empty())
      (void)hasTask.wait_for(lock, std::chrono::hours(1));
    --numIdle;
    std::function<void()> task = std::move(tasks.front());
    tasks.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
}
