//===- SocketHub.h - the centre of a star of socket bootstraps --*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_SOCKETHUB_H
#define MOE_RUNTIME_SOCKETHUB_H

#include "moe-runtime/Deadline.h"
#include "moe-runtime/Status.h"
#include "moe-runtime/UniqueFd.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <poll.h>
#include <string>
#include <vector>

namespace moe::rt {

/// One frame of the protocol between a rank and the hub, before its payload.
struct HubFrame {
  static constexpr uint32_t magicValue = 0x4d4f4531; // "MOE1"
  enum Kind : uint32_t { Exchange = 1, Result = 2, Error = 3, Report = 4 };

  uint32_t magic;
  uint32_t kind;
  uint64_t sequence;
  uint64_t bytes;     ///< of the payload
  uint32_t timeoutMs; ///< Exchange: how long the rank is ready to wait
  uint32_t code;      ///< Error: the code
};

/// Serves R ranks from one thread without ever blocking on one of them. Every
/// exchange is answered when all ranks have sent theirs, or with an error that
/// names those that have not.
class SocketHub {
public:
  explicit SocketHub(std::vector<UniqueFd> sockets);

  /// Serves what is ready and returns after `timeoutMs` (-1 for no bound) at
  /// the latest, at once when `extraFd` is readable. Returns whether it is.
  bool step(int timeoutMs, int extraFd = -1);
  /// The same with any number of other descriptors to wait for.
  void step(int timeoutMs, std::vector<pollfd> &others);

  /// Answers the pending exchange and all later ones with `status`.
  void fail(const Status &status);

  /// Whether some rank has not been sent all that is for it.
  bool hasOutput() const;

  /// True when every rank has closed its socket.
  bool allClosed() const;

  /// Called with what a rank sends by sendReport.
  std::function<void(int rank, const std::string &text)> onReport;
  /// What is known of a rank that others wait for: "it was last seen loading
  /// the artifact". May be empty.
  std::function<std::string(int rank)> describe;

private:
  struct Outgoing {
    std::shared_ptr<const std::string> bytes; ///< the same for all ranks
    size_t sent = 0;
    std::vector<std::shared_ptr<UniqueFd>> fds; ///< go with the first byte
  };
  struct Client {
    UniqueFd socket;
    std::string input;
    std::deque<UniqueFd> inputFds;
    std::deque<Outgoing> output;
    bool arrived = false;
    std::string payload;
    std::shared_ptr<UniqueFd> fd;
  };

  void receive(int rank);
  void parse(int rank);
  void send(int rank);
  void post(int rank, std::shared_ptr<const std::string> message,
            std::vector<std::shared_ptr<UniqueFd>> fds = {});
  void close(int rank);
  void completeIfReady();
  void answerError(const Status &status);
  void failMissing();

  std::vector<Client> clients;
  uint64_t sequence = 0;
  std::optional<Deadline> deadline; ///< of the pending exchange
  uint32_t pendingTimeoutMs = 0;
  Status failed;
};

/// Sends a text to the hub's onReport over a rank's socket, within `seconds`.
/// Failures are ignored: a hub that is gone ends the rank anyway.
void sendReport(int socket, const std::string &text, double seconds = 1);

} // namespace moe::rt

#endif // MOE_RUNTIME_SOCKETHUB_H
