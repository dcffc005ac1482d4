//===- Member.cpp - the other processes of a job --------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Member.h"

using namespace moe::rt;
using namespace moe::run;

static constexpr double beatSeconds = 0.5;

bool Member::isOpen() const {
  return remote ? remote->isOpen() || !received.empty() : local.isOpen();
}

void Member::close() {
  received.clear();
  if (remote)
    remote->close();
  else
    local.close();
}

bool Member::send(const std::string &text, const std::vector<int> &fds) {
  if (!remote)
    return local.send(text, fds);
  static_assert(LinkFrame::mostBytes >= MessageSocket::mostBytes);
  if (!remote->isOpen() || text.size() > MessageSocket::mostBytes)
    return false;
  remote->queue(LinkFrame::Text, text);
  return remote->flush().isOk();
}

/// Takes in what has come. What was sent before the end is still received.
void Member::pump() {
  if (!remote->isOpen())
    return;
  Status status =
      remote->receive([&](LinkFrame::Kind kind, std::string_view text) {
        if (kind == LinkFrame::Text)
          received.emplace_back(text);
      });
  if (status.isOk() && remote->isSilentFor(silenceSeconds))
    status = makeError(MOERT_TIMEOUT, "was silent for %g s", silenceSeconds);
  if (status.isOk())
    return;
  why = status.message();
  remote->close();
}

MessageSocket::Received Member::receive(std::string &text,
                                        std::deque<UniqueFd> &fds) {
  if (!remote)
    return local.receive(text, fds);
  if (received.empty())
    pump();
  if (received.empty())
    return remote->isOpen() ? MessageSocket::Nothing : MessageSocket::Closed;
  text = std::move(received.front());
  received.pop_front();
  return MessageSocket::Message;
}

void Member::beat() {
  if (!remote || !remote->isOpen())
    return;
  if (nextBeat.isOver()) {
    remote->queue(LinkFrame::Beat, "");
    nextBeat = Deadline(beatSeconds);
  }
  // A broken connection is noticed by the next receive.
  Status ignored = remote->flush();
  (void)ignored;
}
