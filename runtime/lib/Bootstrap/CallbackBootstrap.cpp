//===- CallbackBootstrap.cpp - groups that embedders or MPI make ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MpiPlugin.h"
#include "moe-runtime/Bootstrap.h"

#include <dlfcn.h>

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
    if (callbacks.allGather(in, bytes, out, timeout, error, sizeof(error)) == 0)
      return Status::ok();
    error[sizeof(error) - 1] = '\0';
    return makeError(MOERT_PEER_FAILED, "bootstrap: %s",
                     error[0] ? error : "the all-gather callback failed");
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

//===----------------------------------------------------------------------===//
// MPI
//===----------------------------------------------------------------------===//

static decltype(&moe_mpi_abort) mpiAbort = nullptr;

Expected<std::unique_ptr<Bootstrap>>
moe::rt::createMpiBootstrap(const std::string &pluginPath,
                            double timeoutSeconds) {
  // The plug-in stays loaded: MPI cannot be unloaded.
  void *plugin = dlopen(pluginPath.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!plugin) {
    const char *text = dlerror();
    return makeError(MOERT_UNAVAILABLE, "cannot load the MPI plug-in: %s",
                     text ? text : pluginPath.c_str());
  }
  auto init =
      reinterpret_cast<decltype(&moe_mpi_init)>(dlsym(plugin, "moe_mpi_init"));
  auto allGather = reinterpret_cast<decltype(&moe_mpi_allgather)>(
      dlsym(plugin, "moe_mpi_allgather"));
  auto finalize = reinterpret_cast<decltype(&moe_mpi_finalize)>(
      dlsym(plugin, "moe_mpi_finalize"));
  mpiAbort = reinterpret_cast<decltype(&moe_mpi_abort)>(
      dlsym(plugin, "moe_mpi_abort"));
  if (!init || !allGather || !finalize || !mpiAbort)
    return makeError(MOERT_UNAVAILABLE, "%s is no MPI plug-in of this runtime",
                     pluginPath.c_str());
  int rank = 0, size = 0;
  char error[1024] = {};
  if (init(&rank, &size, error, sizeof(error)) != 0)
    return makeError(MOERT_UNAVAILABLE, "MPI: %s", error);
  // Finalizes with the last copy of the callback.
  std::shared_ptr<void> session(nullptr, [finalize](void *) { finalize(); });
  BootstrapCallbacks callbacks;
  callbacks.allGather = [allGather, session](const void *in, size_t bytes,
                                             void *out, double timeout,
                                             char *text, size_t textBytes) {
    return allGather(in, bytes, out, timeout, text, textBytes);
  };
  auto bootstrap = createCallbackBootstrap(rank, size, std::move(callbacks));
  bootstrap->setTimeout(timeoutSeconds);
  return bootstrap;
}

void moe::rt::abortMpiJob(int exitCode) {
  if (mpiAbort)
    mpiAbort(exitCode);
}
