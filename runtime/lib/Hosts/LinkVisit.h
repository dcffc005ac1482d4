//===- LinkVisit.h - how the leader of a host finds rank 0 ------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_HOSTS_LINKVISIT_H
#define MOE_RUNTIME_LIB_HOSTS_LINKVISIT_H

#include "LinkMeeting.h"
#include "moe-runtime/Deadline.h"

#include <optional>
#include <poll.h>
#include <string>
#include <vector>

namespace moe::rt {

/// Connects to rank 0 as the leader of a host, without waiting.
class LinkVisit {
public:
  /// `seconds` is how long it may take: an address that does not answer gets a
  /// part of that.
  LinkVisit(const LinkInvitation &invitation, int host, double seconds);
  LinkVisit(const LinkVisit &) = delete;

  /// Goes on. The connection, once rank 0 has answered in it.
  UniqueFd step();
  /// What it waits for, to be polled.
  void addTo(std::vector<pollfd> &entries) const;
  /// Why there is no connection yet.
  Status inVain() const;

private:
  struct Attempt {
    LinkAddress address;
    UniqueFd socket; ///< none while it is left alone
    bool isConnected = false;
    unsigned char answer[16];
    size_t received = 0;
    int64_t nextTry = 0;
    std::string error = "no connection";
  };

  void start(Attempt &attempt);
  void fail(Attempt &attempt, const std::string &why);
  void failWith(Attempt &attempt, int error);
  void look(Attempt &attempt);
  void speak(Attempt &attempt);
  bool hear(Attempt &attempt);

  LinkInvitation invitation;
  int host;
  double seconds;
  std::vector<Attempt> attempts;
  Attempt *spokenTo = nullptr;
  std::optional<Deadline> answerTime;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_HOSTS_LINKVISIT_H
