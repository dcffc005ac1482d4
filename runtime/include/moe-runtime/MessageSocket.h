//===- MessageSocket.h - messages between processes of a job ----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_MESSAGESOCKET_H
#define MOE_RUNTIME_MESSAGESOCKET_H

#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <deque>
#include <string>
#include <sys/types.h>
#include <vector>

namespace moe::rt {

/// One end of a connection that carries whole messages, each with descriptors.
/// Nothing here blocks.
class MessageSocket {
public:
  static constexpr size_t mostBytes = size_t(1) << 16;

  enum Received { Message, Nothing, Closed };

  MessageSocket() = default;
  explicit MessageSocket(UniqueFd socket) : socket(std::move(socket)) {}

  /// False when the other end is gone or does not read, or the text is longer
  /// than a message may be.
  bool send(const std::string &text, const std::vector<int> &fds = {});
  Received receive(std::string &text, std::deque<UniqueFd> &fds);

  /// Whether the process at the other end runs as this one's user, who may
  /// do to it whatever it asks for. Nobody else's messages are looked at.
  bool isOfSameUser() const;
  uid_t peerUser() const;
  pid_t peerProcess() const;

  bool isOpen() const { return socket.isValid(); }
  int fd() const { return socket.get(); }
  void close() { socket.reset(); }

private:
  UniqueFd socket;
};

/// What a place in the abstract namespace of Unix sockets gave.
struct Place {
  UniqueFd listener;        ///< when this process has it
  MessageSocket connection; ///< when another one has
};

/// Takes the place called `name`, or connects to the process that has it.
/// Neither is set when that process is just coming or going; then it is to be
/// tried again.
Expected<Place> takeOrVisitPlace(const std::string &name);

/// The next visitor of a place, or one that is not open. Processes of other
/// users are turned away.
MessageSocket acceptVisitor(int listener);

} // namespace moe::rt

#endif // MOE_RUNTIME_MESSAGESOCKET_H
