//===- NcclGroup.h - ranks that exchange by NCCL, for tests -----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_UNITTESTS_NCCLGROUP_H
#define MOE_RUNTIME_UNITTESTS_NCCLGROUP_H

#include "CUDA/CudaBackend.h"
#include "NCCL/Communicator.h"
#include "moe-runtime/Context.h"
#include "moe-runtime/Deadline.h"

#include <chrono>
#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <thread>

#define EXPECT_OK(expr)                                                        \
  do {                                                                         \
    Status okStatus = (expr);                                                  \
    EXPECT_TRUE(okStatus.isOk()) << okStatus.message();                        \
  } while (false)

namespace moe::rt::tests {

/// Gives up after a while.
class TimeGuard : public ExchangeGuard {
public:
  explicit TimeGuard(double seconds = 20) : deadline(seconds) {}
  Status check(int) override {
    return deadline.isOver() ? Status(MOERT_TIMEOUT, "the test's time is up")
                             : Status::ok();
  }

private:
  Deadline deadline;
};

/// A rank that has a GPU, in a thread.
struct NcclRank {
  Context &context;
  HostMap hosts;

  int rank() const { return context.rank(); }
  int size() const { return context.size(); }
  cuda::CudaBackend &backend() {
    return static_cast<cuda::CudaBackend &>(context.device());
  }
  nccl::CommunicatorGroup group(double seconds = 20) {
    return {context.boot(), hosts, backend().gpuOfRank(), seconds, seconds};
  }
  Expected<std::unique_ptr<Exchanger>> create(LentCommunicators lent = {},
                                              double seconds = 60) {
    return createNcclExchanger({context.boot(), hosts, context.device(),
                                context.control(), context.heap(), lent,
                                seconds});
  }

  /// Memory of the GPU, all bytes `value`; freed with the process.
  char *allocate(size_t bytes, int value = 0) {
    size_t unit = backend().granularity();
    auto memory =
        backend().gpuOfRank()->mapPrivate((bytes + unit - 1) / unit * unit);
    EXPECT_TRUE(memory.isOk()) << memory.status().message();
    std::vector<char> filled(bytes, static_cast<char>(value));
    EXPECT_OK(backend().copyIn(*memory, filled.data(), bytes));
    return *memory;
  }
  std::vector<char> read(const char *memory, size_t bytes) {
    std::vector<char> copy(bytes);
    EXPECT_OK(backend().copyOut(copy.data(), memory, bytes));
    return copy;
  }
  /// Whether the stream comes to its end in the time.
  bool isDone(double seconds, const StreamRef &stream = {}) {
    Deadline deadline(seconds);
    while (!deadline.isOver()) {
      auto done = backend().isDone(stream);
      EXPECT_TRUE(done.isOk()) << done.status().message();
      if (!done.isOk() || *done)
        return done.isOk();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return false;
  }
};

class NcclTest : public ::testing::Test {
protected:
  /// Somebody else has loaded it, like torch; so communicators can be lent.
  static void SetUpTestSuite() {
    ASSERT_NE(dlopen("libnccl.so.2", RTLD_NOW), nullptr) << dlerror();
  }
  void TearDown() override { unsetenv("MOE_STANDIN_NCCL_FAULT"); }

  static void setFault(const char *text) {
    setenv("MOE_STANDIN_NCCL_FAULT", text, 1);
  }

  /// The ranks are on `hosts` hosts, as many on each.
  static void run(int size, const std::function<void(NcclRank &)> &body,
                  int device = -1, int hosts = 1) {
    auto bootstraps = createThreadBootstraps(size);
    std::vector<std::thread> threads;
    for (int r = 0; r < size; ++r)
      threads.emplace_back([&, r] {
        ContextOptions options;
        options.backend = "cuda";
        options.device = device;
        options.symmReserveBytes = size_t(1) << 30;
        // To NCCL they are one.
        if (hosts > 1) {
          options.device = r;
          options.hostId = "host" + std::to_string(r * hosts / size);
        }
        auto context = Context::create(std::move(bootstraps[r]), options);
        ASSERT_TRUE(context.isOk()) << context.status().message();
        NcclRank rank{**context, HostMap::oneHost(size)};
        body(rank);
      });
    for (std::thread &thread : threads)
      thread.join();
  }
};

} // namespace moe::rt::tests

#endif // MOE_RUNTIME_UNITTESTS_NCCLGROUP_H
