//===- LinkVisit.cpp - how the leader of a host finds rank 0 --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Rank 0 may have addresses that lead nowhere from here, or to somebody else.
/// So all of them are tried at the same time. With those that connect the
/// leader speaks one after the other, since rank 0 takes the one that speaks
/// last.
///
//===----------------------------------------------------------------------===//

#include "LinkMeeting.h"

#include "moe-runtime/Deadline.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <poll.h>
#include <sys/socket.h>

using namespace moe::rt;

/// How long an address that did not work is left alone.
static constexpr int64_t pauseNs = 100000000;

namespace {
struct Attempt {
  explicit Attempt(const LinkAddress &address) : address(address) {}

  LinkAddress address;
  UniqueFd socket; ///< none while it is left alone
  bool isConnected = false;
  unsigned char answer[16];
  size_t received = 0;
  int64_t nextTry = 0;
  std::string error = "no connection";
};

class Visit {
public:
  Visit(const LinkInvitation &invitation, int host, double seconds)
      : invitation(invitation), host(host), seconds(seconds) {
    for (uint32_t i = 0; i < std::min<uint32_t>(invitation.numAddresses,
                                                LinkInvitation::mostAddresses);
         ++i)
      attempts.emplace_back(invitation.addresses[i]);
  }

  Expected<UniqueFd> run();

private:
  void start(Attempt &attempt);
  void fail(Attempt &attempt, const std::string &why);
  void failWith(Attempt &attempt, int error);
  void look(Attempt &attempt);
  void speak(Attempt &attempt);
  bool hear(Attempt &attempt);
  Status inVain() const;

  const LinkInvitation &invitation;
  int host;
  double seconds;
  std::vector<Attempt> attempts;
  Attempt *spokenTo = nullptr;
  std::optional<Deadline> answerTime;
};
} // namespace

void Visit::fail(Attempt &attempt, const std::string &why) {
  attempt.error = why;
  attempt.socket.reset();
  attempt.nextTry = nowNs() + pauseNs;
  if (spokenTo == &attempt)
    spokenTo = nullptr;
}

void Visit::failWith(Attempt &attempt, int error) {
  char buffer[128];
  fail(attempt, strerror_r(error, buffer, sizeof(buffer)));
}

void Visit::start(Attempt &attempt) {
  sockaddr_storage storage;
  socklen_t bytes = fillAddress(storage, attempt.address, invitation.port);
  attempt.socket = UniqueFd(socket(
      attempt.address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  attempt.isConnected = false;
  attempt.received = 0;
  if (!attempt.socket.isValid() ||
      (connect(attempt.socket.get(), reinterpret_cast<sockaddr *>(&storage),
               bytes) != 0 &&
       errno != EINPROGRESS && errno != EINTR))
    failWith(attempt, errno);
}

/// Whether it has connected.
void Visit::look(Attempt &attempt) {
  pollfd entry{attempt.socket.get(), POLLOUT, 0};
  if (poll(&entry, 1, 0) <= 0)
    return;
  int error = 0;
  socklen_t length = sizeof(error);
  (void)getsockopt(attempt.socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  attempt.isConnected = error == 0;
  if (error != 0)
    failWith(attempt, error);
}

void Visit::speak(Attempt &attempt) {
  LinkHello hello{LinkHello::magicValue, uint32_t(host), {}};
  std::memcpy(hello.secret, invitation.secret, sizeof(hello.secret));
  sendAtOnce(attempt.socket.get());
  // A fresh connection has room for it.
  if (send(attempt.socket.get(), &hello, sizeof(hello),
           MSG_NOSIGNAL | MSG_DONTWAIT) != ssize_t(sizeof(hello)))
    return failWith(attempt, errno);
  spokenTo = &attempt;
  answerTime.emplace(std::max(1.0, seconds / 4));
}

/// True when the answer is there and is rank 0's.
bool Visit::hear(Attempt &attempt) {
  ssize_t more = recv(attempt.socket.get(), attempt.answer + attempt.received,
                      sizeof(attempt.answer) - attempt.received, MSG_DONTWAIT);
  if (more < 0 && (errno == EAGAIN || errno == EINTR)) {
    if (answerTime->isOver())
      fail(attempt, "no answer");
    return false;
  }
  if (more <= 0) {
    failWith(attempt, more < 0 ? errno : ECONNRESET);
    return false;
  }
  attempt.received += size_t(more);
  if (attempt.received < sizeof(attempt.answer))
    return false;
  if (std::memcmp(attempt.answer, invitation.answer, sizeof(attempt.answer)) ==
      0)
    return true;
  fail(attempt, "somebody else answers");
  return false;
}

Status Visit::inVain() const {
  std::string errors;
  for (const Attempt &attempt : attempts)
    errors += (errors.empty() ? "" : ", ") + attempt.address.str() + ": " +
              attempt.error;
  return makeError(MOERT_PEER_FAILED,
                   "could not connect to rank 0 at port %u within %g s (%s); "
                   "MOE_HOST_INTERFACE on rank 0 names the interface or "
                   "address at which other hosts reach it",
                   invitation.port, seconds, errors.c_str())
      .aboutPeer(0);
}

Expected<UniqueFd> Visit::run() {
  for (Deadline deadline(seconds);;) {
    for (Attempt &attempt : attempts) {
      if (!attempt.socket.isValid() && nowNs() >= attempt.nextTry)
        start(attempt);
      if (attempt.socket.isValid() && !attempt.isConnected)
        look(attempt);
      if (attempt.isConnected && attempt.socket.isValid() && !spokenTo)
        speak(attempt);
      if (spokenTo == &attempt && hear(attempt))
        return std::move(attempt.socket);
    }
    if (deadline.isOver())
      return inVain();
    std::vector<pollfd> entries;
    for (const Attempt &attempt : attempts)
      if (!attempt.isConnected || spokenTo == &attempt)
        entries.push_back({attempt.socket.get(),
                           short(attempt.isConnected ? POLLIN : POLLOUT), 0});
    (void)poll(entries.data(), entries.size(), deadline.sliceMs());
  }
}

Expected<UniqueFd> moe::rt::visitLink(const LinkInvitation &invitation,
                                      int host, double seconds) {
  return Visit(invitation, host, seconds).run();
}
