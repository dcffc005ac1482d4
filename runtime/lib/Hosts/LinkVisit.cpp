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
/// leader speaks one after the other, and keeps the first that answers.
///
//===----------------------------------------------------------------------===//

#include "LinkVisit.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>

using namespace moe::rt;

/// How long an address that did not work is left alone.
static constexpr int64_t pauseNs = 100000000;

LinkVisit::LinkVisit(const LinkInvitation &invitation, int host, double seconds)
    : invitation(invitation), host(host), seconds(seconds) {
  uint32_t count = std::min<uint32_t>(invitation.numAddresses,
                                      LinkInvitation::mostAddresses);
  for (uint32_t i = 0; i < count; ++i) {
    attempts.emplace_back();
    attempts.back().address = invitation.addresses[i];
  }
}

void LinkVisit::fail(Attempt &attempt, const std::string &why) {
  attempt.error = why;
  attempt.socket.reset();
  attempt.nextTry = nowNs() + pauseNs;
  if (spokenTo == &attempt)
    spokenTo = nullptr;
}

void LinkVisit::failWith(Attempt &attempt, int error) {
  char buffer[128];
  fail(attempt, strerror_r(error, buffer, sizeof(buffer)));
}

void LinkVisit::start(Attempt &attempt) {
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
void LinkVisit::look(Attempt &attempt) {
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

void LinkVisit::speak(Attempt &attempt) {
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

/// True when the answer is there and is rank 0's, who then knows that it has
/// come.
bool LinkVisit::hear(Attempt &attempt) {
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
  if (std::memcmp(attempt.answer, invitation.answer, sizeof(attempt.answer)) !=
      0) {
    fail(attempt, "somebody else answers");
    return false;
  }
  LinkConfirmation confirmation{LinkConfirmation::magicValue};
  if (send(attempt.socket.get(), &confirmation, sizeof(confirmation),
           MSG_NOSIGNAL | MSG_DONTWAIT) == ssize_t(sizeof(confirmation)))
    return true;
  failWith(attempt, errno);
  return false;
}

Status LinkVisit::inVain() const {
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

UniqueFd LinkVisit::step() {
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
  return UniqueFd();
}

void LinkVisit::addTo(std::vector<pollfd> &entries) const {
  for (const Attempt &attempt : attempts)
    if (!attempt.isConnected || spokenTo == &attempt)
      entries.push_back({attempt.socket.get(),
                         short(attempt.isConnected ? POLLIN : POLLOUT), 0});
}

Expected<UniqueFd> moe::rt::visitLink(const LinkInvitation &invitation,
                                      int host, double seconds) {
  LinkVisit visit(invitation, host, seconds);
  for (Deadline deadline(seconds);;) {
    if (UniqueFd socket = visit.step(); socket.isValid())
      return socket;
    if (deadline.isOver())
      return visit.inVain();
    std::vector<pollfd> entries;
    visit.addTo(entries);
    (void)poll(entries.data(), entries.size(), deadline.sliceMs());
  }
}
