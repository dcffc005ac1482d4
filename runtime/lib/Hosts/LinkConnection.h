//===- LinkConnection.h - a connection between hosts ------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_HOSTS_LINKCONNECTION_H
#define MOE_RUNTIME_LIB_HOSTS_LINKCONNECTION_H

#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"
#include "moe-runtime/WaitClock.h"

#include <functional>
#include <string>
#include <string_view>

namespace moe::rt {

struct LinkFrame {
  enum Kind : uint32_t {
    Beat = 1, ///< nothing new
    Rank,     ///< a RankSnapshot
    Lost,    ///< the number of a host as text, a space, and what is known of it
    Goodbye, ///< nothing more comes
    Text     ///< what programs say that use the same connections
  };
  static constexpr uint32_t magicValue = 0x4d4f4c4b;
  static constexpr uint32_t mostBytes = 1 << 16;
  uint32_t magic;
  uint32_t kind;
  uint32_t bytes;
};

/// Frames over a socket, without waiting.
class LinkConnection {
public:
  explicit LinkConnection(UniqueFd socket) : socket(std::move(socket)) {}

  int fd() const { return socket.get(); }
  bool isOpen() const { return socket.isValid(); }
  bool hasOutput() const { return !output.empty(); }
  /// Time since something has come.
  bool isSilentFor(double seconds) { return silence.hasPassed(seconds); }

  void queue(LinkFrame::Kind kind, std::string_view payload);
  /// Sends what the socket takes.
  Status flush();
  /// Hands over the frames that have come; they are whole. Ends early when the
  /// function closes the connection.
  Status receive(
      const std::function<void(LinkFrame::Kind, std::string_view)> &onFrame);
  /// Says that no more is sent.
  void endOutput();
  /// Also where a child of this process has the socket open.
  void close();

private:
  UniqueFd socket;
  std::string input, output;
  WaitClock silence;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_HOSTS_LINKCONNECTION_H
