//===- Bootstrap.h - how the ranks of a group find each other ---*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A bootstrap is what a group has before it shares memory: rank, size, an
/// all-gather of a few bytes, and the passing of file descriptors. It is used
/// when a context is made, when the symmetric heap grows and at the end of a
/// run; never by a running entry.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_BOOTSTRAP_H
#define MOE_RUNTIME_BOOTSTRAP_H

#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace moe::rt {

/// What ranks that are threads of one process share: objects found by name.
class LocalGroup {
public:
  /// The object called `name`, made by the first rank that asks for it and
  /// kept for as long as some rank holds it.
  template <typename T>
  std::shared_ptr<T> share(const std::string &name,
                           const std::function<std::shared_ptr<T>()> &make) {
    std::lock_guard<std::mutex> lock(mutex);
    std::weak_ptr<void> &slot = objects[name];
    std::shared_ptr<void> object = slot.lock();
    if (!object)
      slot = object = make();
    return std::static_pointer_cast<T>(object);
  }

private:
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<void>> objects;
};

/// The interface. All operations are collective: every rank calls them in the
/// same order with the same sizes. All are bounded by the time-out, and their
/// errors name the ranks that did not arrive.
class Bootstrap {
public:
  virtual ~Bootstrap();

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Writes the `bytes` bytes of every rank, in rank order, to `out`.
  virtual Status allGather(const void *in, size_t bytes, void *out) = 0;

  /// Hands `fd` (-1 for none) to all ranks. `out[r]` becomes a descriptor of
  /// the file of rank r, or none; also for the calling rank itself.
  virtual Status exchangeFds(int fd, std::vector<UniqueFd> &out) = 0;

  virtual Status barrier();

  /// Non-null when the ranks are threads of this process.
  virtual LocalGroup *localGroup() { return nullptr; }

  /// \name Parts of a group
  /// The bootstrap of a part uses that of the whole group, so all parts do the
  /// same at the same time, and have to agree on going on.
  /// @{
  /// Itself where this is no part.
  virtual Bootstrap &whole() { return *this; }
  /// The number of `rank` in the whole group, by which messages name it.
  virtual int rankInWhole(int rank) const { return rank; }
  /// @}

  /// Bounds every operation from now on.
  void setTimeout(double seconds) { timeout = seconds; }
  double timeoutSeconds() const { return timeout; }

protected:
  double timeout = 20.0;
};

/// Collective: Ok when all ranks of the whole group are, else an error on all
/// of them. A rank that has an error keeps it; the others get MOERT_PEER_FAILED
/// with the text of the lowest rank whose error is its own (not
/// MOERT_PEER_FAILED), which is also written to `failedRank`.
Status agreeStatus(Bootstrap &bootstrap, const Status &mine,
                   int *failedRank = nullptr);

/// Collective: gathers texts of any length.
Expected<std::vector<std::string>> allGatherText(Bootstrap &bootstrap,
                                                 const std::string &mine);

/// "rank 3" or "ranks 1, 3 and 4".
std::string listRanks(const std::vector<int> &ranks);

/// A group of one.
std::unique_ptr<Bootstrap> createSoloBootstrap();

/// A group of `size` threads of this process, one bootstrap per rank.
std::vector<std::unique_ptr<Bootstrap>> createThreadBootstraps(int size);

/// The rank's end of a socket whose other end a SocketHub serves. `hub` names
/// its process in messages.
std::unique_ptr<Bootstrap> createSocketBootstrap(
    UniqueFd socket, int rank, int size,
    const std::string &hub = "the process that started the ranks");

/// What an embedder supplies: an all-gather among processes of one machine.
/// `allGather` returns 0, or not 0 after writing to `error` which rank is
/// missing, or what else went wrong; it is expected to be bounded by
/// `timeoutSeconds`.
struct BootstrapCallbacks {
  std::function<int(const void *in, size_t bytes, void *out,
                    double timeoutSeconds, char *error, size_t errorBytes)>
      allGather;
};

/// A group built from callbacks. Descriptors travel over abstract Unix
/// sockets whose names are all-gathered.
std::unique_ptr<Bootstrap>
createCallbackBootstrap(int rank, int size, BootstrapCallbacks callbacks);

/// Passes descriptors among processes that have nothing but an all-gather;
/// what the callback bootstraps use.
Status exchangeFdsOverSockets(Bootstrap &bootstrap, int fd,
                              std::vector<UniqueFd> &out);

} // namespace moe::rt

#endif // MOE_RUNTIME_BOOTSTRAP_H
