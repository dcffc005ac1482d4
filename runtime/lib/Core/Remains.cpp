//===- Remains.cpp - what graphs use of contexts that are gone ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Remains.h"

#include <list>
#include <mutex>
#include <unistd.h>

using namespace moe::rt;

namespace {
struct Kept {
  std::mutex mutex;
  pid_t process = 0; ///< whose they are
  std::list<Remains> remains;
};
} // namespace

/// Never destroyed: when statics are, the driver may be gone.
static Kept &kept() {
  static Kept *it = new Kept();
  return *it;
}

/// In a child that the process has forked, they are the parent's.
static void forgetParents(Kept &all) {
  if (all.process == getpid())
    return;
  all.process = getpid();
  // Leaked, as all that a fork has of a context.
  if (!all.remains.empty())
    new std::list<Remains>(std::move(all.remains));
  all.remains.clear();
}

void moe::rt::keepRemains(Remains remains) {
  Kept &all = kept();
  std::lock_guard<std::mutex> lock(all.mutex);
  forgetParents(all);
  all.remains.push_back(std::move(remains));
}

void moe::rt::sweepRemains() {
  Kept &all = kept();
  std::list<Remains> done;
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    forgetParents(all);
    for (auto it = all.remains.begin(); it != all.remains.end();) {
      auto next = std::next(it);
      if (it->backend->numGraphs() == 0)
        done.splice(done.end(), all.remains, it);
      it = next;
    }
  }
}
