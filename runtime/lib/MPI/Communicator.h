//===- Communicator.h - messages among the ranks of a group -----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_MPI_COMMUNICATOR_H
#define MOE_RUNTIME_LIB_MPI_COMMUNICATOR_H

#include "Library.h"
#include "moe-runtime/WaitPace.h"

#include <memory>
#include <string>
#include <vector>

namespace moe::rt::mpi {

/// A copy of a communicator: what is sent in it meets no message of the
/// program's own, and an error in it is returned.
class Communicator {
public:
  /// Collective among the ranks of `original`, which have to come within the
  /// time-out.
  static Expected<std::unique_ptr<Communicator>>
  copy(const Library &library, Comm original, double timeoutSeconds);
  ~Communicator();
  Communicator(const Communicator &) = delete;

  int rank() const { return myRank; }
  int size() const { return numRanks; }
  Comm handle() const { return comm; }
  const Library &mpi() const { return library; }

  /// Messages in it may be under way for ever: it is not freed.
  void leak() { isLeaked = true; }

private:
  Communicator(const Library &library) : library(library) {}

  const Library &library;
  Comm comm = nullptr;
  int myRank = 0, numRanks = 1;
  bool isLeaked = false;
};

/// Bytes that go to a rank, or come from it.
struct Outbound {
  int peer;
  const char *data;
  size_t bytes;
};
struct Inbound {
  int peer;
  char *data;
  size_t bytes;
};

struct MessagePool;

/// Moves any number of bytes at the same time, in messages of a bounded size
/// through memory of its own. So MPI never has an address of the caller's: a
/// transfer that is given up leaves nothing behind that could be written or
/// read later. What a rank is still sent after that is kept for ever.
class Messenger {
public:
  /// What a transfer asks whoever wants it. Peers are ranks of the
  /// communicator.
  class Watch {
  public:
    virtual ~Watch();
    /// Not Ok when a transfer that waits for `peer` has to be given up.
    virtual Status check(int peer) = 0;
    /// The error where `peer` sends another number of bytes than is expected of
    /// it: `sent` of them.
    virtual Status misfit(int peer, size_t expected,
                          const std::string &sent) = 0;
    /// By which number errors call `peer`.
    virtual int rankOf(int peer) const { return peer; }
    /// Some messages have come or gone.
    virtual void progressed() {}
  };

  /// `ranksHere` share the processors of this machine: with more than there are
  /// a rank that waits does not keep the others from theirs.
  Messenger(Communicator &communicator, int ranksHere);
  ~Messenger();

  /// Transfers all of both lists. Between two ranks the pieces of a list of
  /// one are those of the other's, in the same order, as far as they have
  /// bytes; and among all ranks there is one order in which each rank's lists
  /// are: else ranks could wait for each other in a circle. When it ends, what
  /// this rank has sent is with its receivers. After an error, or an
  /// exception, messages of this transfer may still come, under `tag` and the
  /// number after it.
  Status transfer(const std::vector<Outbound> &sends,
                  const std::vector<Inbound> &receives, int tag, Watch &watch);

  /// The size of the largest message.
  static constexpr size_t chunkBytes = size_t(512) << 10;

private:
  class Run;

  Status move(const std::vector<Outbound> &sends,
              const std::vector<Inbound> &receives, int tag, bool isReceipt,
              Watch &watch);
  void giveUp(Run &run);

  Communicator &communicator;
  std::unique_ptr<MessagePool> pool; ///< none after what was given up
  WaitPace::Limits limits;
};

} // namespace moe::rt::mpi

#endif // MOE_RUNTIME_LIB_MPI_COMMUNICATOR_H
