//===- BoundedCall.cpp - calls that may never return ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BoundedCall.h"

#include "SignalsBlocked.h"
#include "moe-runtime/Deadline.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

using namespace moe::rt;

struct BoundedCall::State {
  mutable std::mutex mutex;
  std::condition_variable ended;
  bool hasEnded = false;
};

Expected<BoundedCall> BoundedCall::begin(std::function<void()> call) {
  auto state = std::make_shared<State>();
  try {
    SignalsBlocked blocked;
    std::thread([state, call = std::move(call)]() mutable {
      call();
      // What it owns is gone before anybody hears of the end.
      call = nullptr;
      std::lock_guard<std::mutex> lock(state->mutex);
      state->hasEnded = true;
      state->ended.notify_all();
    }).detach();
  } catch (const std::system_error &error) {
    return makeOsError(MOERT_IO, error.code().value(),
                       "cannot start a thread for a call that may wait");
  }
  return BoundedCall(std::move(state));
}

bool BoundedCall::hasEnded() const {
  std::lock_guard<std::mutex> lock(state->mutex);
  return state->hasEnded;
}

bool BoundedCall::wait(double seconds) {
  std::unique_lock<std::mutex> lock(state->mutex);
  for (Deadline deadline(seconds); !state->hasEnded && !deadline.isOver();)
    state->ended.wait_for(lock, std::chrono::milliseconds(deadline.sliceMs()));
  return state->hasEnded;
}
