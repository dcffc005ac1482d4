//===- SocketHub.cpp - the centre of a star of socket bootstraps ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/SocketHub.h"

#include "SocketIO.h"
#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/Timings.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

using namespace moe::rt;

static std::shared_ptr<const std::string>
makeMessage(const HubFrame &frame, const std::string &payload) {
  auto message = std::make_shared<std::string>(
      reinterpret_cast<const char *>(&frame), sizeof(frame));
  *message += payload;
  return message;
}

SocketHub::SocketHub(std::vector<UniqueFd> sockets) {
  for (UniqueFd &socket : sockets) {
    clients.emplace_back();
    clients.back().socket = std::move(socket);
  }
}

bool SocketHub::allClosed() const {
  return std::none_of(clients.begin(), clients.end(), [](const Client &client) {
    return client.socket.isValid();
  });
}

bool SocketHub::hasOutput() const {
  return std::any_of(clients.begin(), clients.end(), [](const Client &client) {
    return client.socket.isValid() && !client.output.empty();
  });
}

bool SocketHub::step(int timeoutMs, int extraFd) {
  std::vector<pollfd> others{{extraFd, POLLIN, 0}};
  step(timeoutMs, others);
  return others[0].revents & POLLIN;
}

void SocketHub::step(int timeoutMs, std::vector<pollfd> &others) {
  std::vector<pollfd> entries;
  for (Client &client : clients) {
    short events = POLLIN;
    if (!client.output.empty())
      events |= POLLOUT;
    entries.push_back({client.socket.get(), events, 0});
  }
  entries.insert(entries.end(), others.begin(), others.end());
  int wait = timeoutMs;
  if (deadline)
    wait = timeoutMs < 0 ? deadline->sliceMs()
                         : std::min(timeoutMs, deadline->sliceMs());
  int ready = poll(entries.data(), entries.size(), wait);
  if (ready > 0)
    for (size_t r = 0; r < clients.size(); ++r) {
      if (entries[r].revents & POLLOUT)
        send(static_cast<int>(r));
      if (entries[r].revents & (POLLIN | POLLHUP | POLLERR))
        receive(static_cast<int>(r));
    }
  if (deadline && deadline->isOver())
    failMissing();
  for (size_t i = 0; i < others.size(); ++i)
    others[i].revents = ready > 0 ? entries[clients.size() + i].revents : 0;
}

void SocketHub::failMissing() {
  std::vector<int> missing;
  std::string known;
  for (size_t r = 0; r < clients.size(); ++r) {
    int rank = static_cast<int>(r);
    if (clients[r].arrived)
      continue;
    missing.push_back(rank);
    std::string text = describe ? describe(rank) : "";
    if (!text.empty() && known.empty())
      known = format("; rank %d %s", rank, text.c_str());
  }
  fail(makeError(MOERT_TIMEOUT, "%s did not arrive within %g s%s",
                 listRanks(missing).c_str(), pendingTimeoutMs / 1e3,
                 known.c_str()));
}

void SocketHub::fail(const Status &status) {
  if (failed.isOk())
    failed = status;
  answerError(failed);
}

/// Answers the ranks that wait.
void SocketHub::answerError(const Status &status) {
  deadline.reset();
  for (size_t r = 0; r < clients.size(); ++r) {
    if (!clients[r].arrived)
      continue;
    clients[r].arrived = false;
    clients[r].payload.clear();
    clients[r].fd.reset();
    HubFrame frame{HubFrame::magicValue,
                   HubFrame::Error,
                   sequence,
                   status.message().size(),
                   0,
                   uint32_t(status.code())};
    post(static_cast<int>(r), makeMessage(frame, status.message()));
  }
}

void SocketHub::receive(int rank) {
  Client &client = clients[rank];
  std::vector<char> buffer(1 << 16);
  while (client.socket.isValid()) {
    ssize_t bytes = receiveSome(client.socket.get(), buffer.data(),
                                buffer.size(), client.inputFds);
    if (bytes > 0) {
      client.input.append(buffer.data(), bytes);
      parse(rank);
      continue;
    }
    if (bytes < 0 && errno == EAGAIN)
      return;
    close(rank);
  }
}

void SocketHub::close(int rank) {
  clients[rank].socket.reset();
  clients[rank].output.clear();
  clients[rank].arrived = false;
  completeIfReady();
}

/// Takes whole frames from the input.
void SocketHub::parse(int rank) {
  Client &client = clients[rank];
  HubFrame frame;
  while (client.input.size() >= sizeof(frame)) {
    std::memcpy(&frame, client.input.data(), sizeof(frame));
    if (frame.magic != HubFrame::magicValue ||
        frame.bytes > (uint64_t(1) << 32)) {
      close(rank);
      return;
    }
    if (client.input.size() < sizeof(frame) + frame.bytes)
      return;
    std::string payload = client.input.substr(sizeof(frame), frame.bytes);
    client.input.erase(0, sizeof(frame) + frame.bytes);
    if (frame.kind == HubFrame::Report) {
      if (onReport)
        onReport(rank, payload);
      continue;
    }
    client.arrived = true;
    client.payload = std::move(payload);
    client.fd.reset();
    if (!client.inputFds.empty()) {
      client.fd =
          std::make_shared<UniqueFd>(std::move(client.inputFds.front()));
      client.inputFds.pop_front();
    }
    // The first to arrive sets the time for all.
    if (!deadline) {
      sequence = frame.sequence;
      pendingTimeoutMs = frame.timeoutMs;
      deadline.emplace(frame.timeoutMs / 1e3);
    } else if (frame.sequence != sequence) {
      fail(makeError(MOERT_COLLECTIVE_MISMATCH,
                     "rank %d is at bootstrap step %llu, others at %llu", rank,
                     (unsigned long long)frame.sequence,
                     (unsigned long long)sequence));
    }
    completeIfReady();
  }
}

void SocketHub::completeIfReady() {
  size_t arrived = 0;
  std::vector<int> gone;
  for (size_t r = 0; r < clients.size(); ++r) {
    arrived += clients[r].arrived;
    if (!clients[r].socket.isValid())
      gone.push_back(static_cast<int>(r));
  }
  if (arrived == 0)
    return;
  if (!failed.isOk()) {
    answerError(failed);
    return;
  }
  if (!gone.empty()) {
    fail(makeError(MOERT_PEER_FAILED, "%s ended before the others",
                   listRanks(gone).c_str()));
    return;
  }
  if (arrived < clients.size())
    return;
  std::string all;
  std::vector<std::shared_ptr<UniqueFd>> fds;
  size_t bytes = clients[0].payload.size();
  for (size_t r = 0; r < clients.size(); ++r) {
    if (clients[r].payload.size() != bytes) {
      fail(makeError(MOERT_COLLECTIVE_MISMATCH,
                     "rank 0 gathers %zu bytes, but rank %zu gathers %zu",
                     bytes, r, clients[r].payload.size()));
      return;
    }
    all += clients[r].payload;
    if (clients[r].fd)
      fds.push_back(clients[r].fd);
  }
  deadline.reset();
  for (Client &client : clients) {
    client.arrived = false;
    client.payload.clear();
    client.fd.reset();
  }
  HubFrame frame{
      HubFrame::magicValue, HubFrame::Result, sequence, all.size(), 0, 0};
  auto message = makeMessage(frame, all);
  for (size_t r = 0; r < clients.size(); ++r)
    post(static_cast<int>(r), message, fds);
}

void SocketHub::post(int rank, std::shared_ptr<const std::string> message,
                     std::vector<std::shared_ptr<UniqueFd>> fds) {
  Outgoing outgoing;
  outgoing.bytes = std::move(message);
  outgoing.fds = std::move(fds);
  clients[rank].output.push_back(std::move(outgoing));
  send(rank);
}

void SocketHub::send(int rank) {
  Client &client = clients[rank];
  while (client.socket.isValid() && !client.output.empty()) {
    Outgoing &next = client.output.front();
    std::vector<int> fds;
    if (next.sent == 0)
      for (const std::shared_ptr<UniqueFd> &fd : next.fds)
        fds.push_back(fd->get());
    ssize_t sent =
        sendSome(client.socket.get(), next.bytes->data() + next.sent,
                 next.bytes->size() - next.sent, fds.data(), fds.size());
    if (sent < 0) {
      // A broken socket is noticed, and closed, by the next receive.
      if (errno != EAGAIN)
        client.output.clear();
      return;
    }
    next.sent += sent;
    if (next.sent == next.bytes->size())
      client.output.pop_front();
  }
}
