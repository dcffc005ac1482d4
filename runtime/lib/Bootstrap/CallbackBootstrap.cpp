//===- CallbackBootstrap.cpp - groups that embedders make -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Bootstrap.h"

using namespace moe::rt;

namespace {
class CallbackBootstrap : public Bootstrap {
public:
  CallbackBootstrap(int rank, int size, BootstrapCallbacks callbacks)
      : callbacks(std::move(callbacks)), myRank(rank), groupSize(size) {}

  int rank() const override { return myRank; }
  int size() const override { return groupSize; }

  Status allGather(const void *in, size_t bytes, void *out) override {
    char error[1024] = {};
    int code =
        callbacks.allGather(in, bytes, out, timeout, error, sizeof(error));
    if (code == 0)
      return Status::ok();
    error[sizeof(error) - 1] = '\0';
    if (error[0])
      return makeError(MOERT_PEER_FAILED, "bootstrap: %s", error);
    return makeError(MOERT_PEER_FAILED,
                     "bootstrap: the all-gather callback returned %d without "
                     "saying why; a rank may be gone or late",
                     code);
  }

  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override {
    return exchangeFdsOverSockets(*this, fd, out);
  }

private:
  BootstrapCallbacks callbacks;
  int myRank;
  int groupSize;
};
} // namespace

std::unique_ptr<Bootstrap>
moe::rt::createCallbackBootstrap(int rank, int size,
                                 BootstrapCallbacks callbacks) {
  return std::make_unique<CallbackBootstrap>(rank, size, std::move(callbacks));
}
