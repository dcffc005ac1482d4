//===- JobBootstrap.cpp - processes of a launcher as a group --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The first process to come to the place of the job is the host: it waits for
/// the others, gives each an end of a socket, and serves the other ends from a
/// thread as long as it is in the group. So ranks that the host itself is late
/// for hear of it as of any other.
///
//===----------------------------------------------------------------------===//

#include "Core/SignalsBlocked.h"
#include "moe-runtime/Deadline.h"
#include "moe-runtime/LaunchedJob.h"
#include "moe-runtime/MessageSocket.h"
#include "moe-runtime/Mpi.h"
#include "moe-runtime/SocketHub.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>

using namespace moe::rt;

/// How much longer others wait for the host than it waits for them.
static constexpr double slackSeconds = 2;

//===----------------------------------------------------------------------===//
// The host's thread
//===----------------------------------------------------------------------===//

namespace {
class HubThread {
public:
  /// Not Ok when the process cannot have another thread.
  static Expected<std::unique_ptr<HubThread>>
  start(std::vector<UniqueFd> sockets);
  ~HubThread();

private:
  explicit HubThread(std::vector<UniqueFd> sockets) : hub(std::move(sockets)) {}
  void serve();

  SocketHub hub;
  UniqueFd stop; ///< readable when the thread has to end
  std::thread thread;
};

/// The host's rank: as any other's, but that the hub lives with it.
class HostBootstrap : public Bootstrap {
public:
  HostBootstrap(std::unique_ptr<HubThread> hub, std::unique_ptr<Bootstrap> mine)
      : hub(std::move(hub)), mine(std::move(mine)) {}

  int rank() const override { return mine->rank(); }
  int size() const override { return mine->size(); }
  Status allGather(const void *in, size_t bytes, void *out) override {
    mine->setTimeout(timeout);
    return mine->allGather(in, bytes, out);
  }
  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override {
    mine->setTimeout(timeout);
    return mine->exchangeFds(fd, out);
  }

private:
  std::unique_ptr<HubThread> hub;
  std::unique_ptr<Bootstrap> mine;
};
} // namespace

Expected<std::unique_ptr<HubThread>>
HubThread::start(std::vector<UniqueFd> sockets) {
  std::unique_ptr<HubThread> made(new HubThread(std::move(sockets)));
  made->stop = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!made->stop.isValid())
    return makeOsError(MOERT_IO, errno, "cannot make an event descriptor");
  try {
    SignalsBlocked guard;
    made->thread = std::thread([raw = made.get()] { raw->serve(); });
  } catch (const std::system_error &error) {
    return makeOsError(MOERT_IO, error.code().value(),
                       "cannot start the thread that keeps the group "
                       "together");
  }
  return made;
}

void HubThread::serve() {
  try {
    while (!hub.step(/*timeoutMs=*/-1, stop.get()))
      ;
    // What the others are still to get, they get within a bound.
    for (Deadline rest(slackSeconds); hub.hasOutput() && !rest.isOver();)
      hub.step(rest.sliceMs());
  } catch (...) {
    // Out of memory: closed sockets tell the ranks.
  }
}

HubThread::~HubThread() {
  uint64_t one = 1;
  ssize_t written = write(stop.get(), &one, sizeof(one));
  (void)written;
  if (thread.joinable())
    thread.join();
}

//===----------------------------------------------------------------------===//
// The meeting
//===----------------------------------------------------------------------===//

namespace {
struct Visitor {
  MessageSocket socket;
  int rank = -1; ///< -1 before it has introduced itself
};

class Meeting {
public:
  Meeting(const LaunchedJob &job, double timeoutSeconds)
      : job(job), timeoutSeconds(timeoutSeconds), waiting(timeoutSeconds) {}
  Expected<std::unique_ptr<Bootstrap>> run(const std::string &place);

private:
  using Result = Expected<std::unique_ptr<Bootstrap>>;
  Result host(int listener);
  Result connectAll(std::vector<Visitor> &visitors);
  Status receive(int listener, std::vector<Visitor> &visitors);
  Status missing(const std::vector<Visitor> &visitors) const;
  /// Null when the host left before it had met all.
  Result visit(MessageSocket host);

  const LaunchedJob &job;
  double timeoutSeconds;
  Deadline waiting;
};
} // namespace

Status Meeting::missing(const std::vector<Visitor> &visitors) const {
  std::vector<int> absent;
  for (int r = 0; r < job.size; ++r) {
    bool isHere = r == job.rank;
    for (const Visitor &visitor : visitors)
      isHere |= visitor.rank == r;
    if (!isHere)
      absent.push_back(r);
  }
  return makeError(MOERT_TIMEOUT,
                   "rank %d: %s did not come within %g s; each of the %d "
                   "processes of the %s job (%s) has to make the group on this "
                   "host",
                   job.rank, listRanks(absent).c_str(), timeoutSeconds,
                   job.size, job.launcher.c_str(), job.rankVariable.c_str())
      .of(job.rank)
      .aboutPeer(absent.empty() ? -1 : absent.front());
}

/// Takes in who has come and what they say. One that leaves may come again.
Status Meeting::receive(int listener, std::vector<Visitor> &visitors) {
  while (visitors.size() < 2 * size_t(job.size)) {
    MessageSocket socket = acceptVisitor(listener);
    if (!socket.isOpen())
      break;
    visitors.push_back({std::move(socket), -1});
  }
  std::vector<Visitor> staying;
  for (Visitor &visitor : visitors) {
    std::string text;
    std::deque<UniqueFd> fds;
    MessageSocket::Received received = visitor.socket.receive(text, fds);
    if (received == MessageSocket::Closed)
      continue;
    if (received == MessageSocket::Message) {
      int rank = -1, size = -1;
      if (std::sscanf(text.c_str(), "%d %d", &rank, &size) != 2)
        continue;
      bool isNew = rank >= 0 && rank < job.size && rank != job.rank;
      for (const Visitor &other : visitors)
        isNew &= other.rank != rank;
      if (size != job.size || !isNew)
        return makeError(MOERT_INVALID_ARGUMENT,
                         "rank %d: a second process says that it is rank %d of "
                         "the %d of this job (%s)",
                         job.rank, rank, size, job.rankVariable.c_str())
            .of(job.rank)
            .aboutPeer(rank);
      visitor.rank = rank;
    }
    staying.push_back(std::move(visitor));
  }
  visitors = std::move(staying);
  return Status::ok();
}

/// Gives every rank its end of a socket, and serves the others.
Meeting::Result Meeting::connectAll(std::vector<Visitor> &visitors) {
  std::vector<UniqueFd> hubEnds(job.size), rankEnds(job.size);
  for (int r = 0; r < job.size; ++r) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   pair) != 0)
      return makeOsError(MOERT_IO, errno, "rank %d: cannot open a Unix socket",
                         job.rank);
    hubEnds[r] = UniqueFd(pair[0]);
    rankEnds[r] = UniqueFd(pair[1]);
  }
  auto hub = HubThread::start(std::move(hubEnds));
  if (!hub.isOk())
    return hub.status().withPrefix(format("rank %d", job.rank));
  // One that is not told has closed its socket, which the hub sees.
  for (Visitor &visitor : visitors)
    if (visitor.rank >= 0)
      (void)visitor.socket.send(format("0 %d", job.rank),
                                {rankEnds[visitor.rank].get()});
  auto mine =
      createSocketBootstrap(std::move(rankEnds[job.rank]), job.rank, job.size);
  return std::unique_ptr<Bootstrap>(
      new HostBootstrap(hub.take(), std::move(mine)));
}

Meeting::Result Meeting::host(int listener) {
  std::vector<Visitor> visitors;
  Status status;
  for (;;) {
    status = receive(listener, visitors);
    int present = 1;
    for (const Visitor &visitor : visitors)
      present += visitor.rank >= 0;
    if (status.isOk() && present == job.size)
      return connectAll(visitors);
    if (status.isOk() && waiting.isOver())
      status = missing(visitors);
    if (!status.isOk())
      break;
    std::vector<pollfd> entries{{listener, POLLIN, 0}};
    for (const Visitor &visitor : visitors)
      entries.push_back({visitor.socket.fd(), POLLIN, 0});
    (void)poll(entries.data(), entries.size(), waiting.sliceMs());
  }
  for (Visitor &visitor : visitors)
    (void)visitor.socket.send(
        format("%d %s", int(status.code()), status.message().c_str()));
  return status;
}

Meeting::Result Meeting::visit(MessageSocket host) {
  if (!host.send(format("%d %d", job.rank, job.size)))
    return std::unique_ptr<Bootstrap>();
  // The host's wait may have begun later than this process's.
  for (Deadline patience(timeoutSeconds + slackSeconds); !patience.isOver();) {
    std::string text;
    std::deque<UniqueFd> fds;
    switch (host.receive(text, fds)) {
    case MessageSocket::Closed:
      return std::unique_ptr<Bootstrap>();
    case MessageSocket::Nothing: {
      pollfd entry{host.fd(), POLLIN, 0};
      (void)poll(&entry, 1, patience.sliceMs());
      continue;
    }
    case MessageSocket::Message:
      break;
    }
    int code = MOERT_INTERNAL, used = 0;
    if (std::sscanf(text.c_str(), "%d %n", &code, &used) < 1)
      code = MOERT_INTERNAL;
    std::string rest = text.substr(std::min(size_t(used), text.size()));
    if (code == MOERT_OK && fds.size() == 1)
      return createSocketBootstrap(std::move(fds.front()), job.rank, job.size,
                                   "rank " + rest +
                                       ", which keeps the group together");
    bool isCode = code > MOERT_OK && code <= MOERT_LAST_CODE;
    auto known = isCode ? static_cast<moert_code>(code) : MOERT_INTERNAL;
    return makeError(known == MOERT_TIMEOUT ? known : MOERT_PEER_FAILED,
                     "rank %d: the group was not made: %s", job.rank,
                     rest.c_str())
        .causedBy(Status(known, rest))
        .of(job.rank);
  }
  return makeError(MOERT_TIMEOUT,
                   "rank %d: the process that keeps the group together "
                   "(process %d) does not answer; it may have been stopped",
                   job.rank, int(host.peerProcess()))
      .of(job.rank);
}

Meeting::Result Meeting::run(const std::string &place) {
  for (;;) {
    auto found = takeOrVisitPlace(place);
    if (!found.isOk())
      return found.status().withPrefix(format("rank %d", job.rank));
    if (found->listener.isValid())
      return host(found->listener.get());
    if (found->connection.isOpen()) {
      Result joined = visit(std::move(found->connection));
      if (!joined.isOk() || *joined)
        return joined;
    }
    if (waiting.isOver())
      return makeError(MOERT_TIMEOUT,
                       "rank %d: could not meet the other processes of the job "
                       "within %g s",
                       job.rank, timeoutSeconds)
          .of(job.rank);
    (void)poll(nullptr, 0, std::min(10, waiting.sliceMs()));
  }
}

Expected<std::unique_ptr<Bootstrap>>
moe::rt::createJobBootstrap(const LaunchedJob &job, double timeoutSeconds) {
  if (job.size == 0)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "%s does not say how many processes the job has; start "
                     "them by a launcher that does, or make the group with an "
                     "all-gather of the program's own",
                     job.rankVariable.c_str());
  if (job.isOnSeveralHosts)
    return createMpiJobBootstrap(job, timeoutSeconds);
  // All processes make their groups in the same order.
  static std::atomic<int> numGroups{0};
  std::string place = placeOf(job, findLauncher(job)) +
                      format("/group/%d", numGroups.fetch_add(1));
  return Meeting(job, timeoutSeconds).run(place);
}
