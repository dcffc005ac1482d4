//===- Member.h - the other processes of a job ------------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_MEMBER_H
#define MOE_TOOLS_MOERUN_MEMBER_H

#include "Hosts/LinkConnection.h"
#include "moe-runtime/Deadline.h"
#include "moe-runtime/MessageSocket.h"

#include <deque>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace moe::run {

/// The connection of two processes of a job: a Unix socket on one host, or TCP
/// between hosts. Nothing here blocks.
class Member {
public:
  Member() = default;
  explicit Member(rt::MessageSocket socket) : local(std::move(socket)) {}
  /// Over TCP. Either end is lost when nothing has come from it for
  /// `silenceSeconds`, though a network that is down tells nobody.
  Member(rt::UniqueFd socket, double silenceSeconds)
      : remote(std::make_unique<rt::LinkConnection>(std::move(socket))),
        silenceSeconds(silenceSeconds) {}

  bool isOpen() const;
  bool isRemote() const { return remote != nullptr; }
  int fd() const {
    return isOpen() ? (remote ? remote->fd() : local.fd()) : -1;
  }

  /// Of MessageSocket::mostBytes at most. Descriptors go to local ones alone.
  bool send(const std::string &text, const std::vector<int> &fds = {});
  rt::MessageSocket::Received receive(std::string &text,
                                      std::deque<rt::UniqueFd> &fds);
  /// To be called many times a second: tells the other end that this one is
  /// there, and sends what did not go at once.
  void beat();
  /// Why it was closed, where that is known: "was silent for 7 s".
  const std::string &reason() const { return why; }
  void close();

  /// Of a local one; 0 else.
  pid_t process() const { return remote ? 0 : local.peerProcess(); }

private:
  void pump();

  rt::MessageSocket local;
  std::unique_ptr<rt::LinkConnection> remote;
  double silenceSeconds = 0;
  std::deque<std::string> received;
  rt::Deadline nextBeat{0};
  std::string why;
};

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_MEMBER_H
