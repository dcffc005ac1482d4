//===- JobLink.h - how the processes of several hosts meet ------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The moe-run of rank 0 listens, and its rank tells all others where. Each of
/// their moe-runs connects when its rank has heard of that.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOERUN_JOBLINK_H
#define MOE_TOOLS_MOERUN_JOBLINK_H

#include "Hosts/LinkMeeting.h"
#include "Hosts/LinkVisit.h"

#include <functional>
#include <memory>
#include <poll.h>
#include <string>
#include <vector>

namespace moe::run {

/// How long a connection may be silent: the ranks, who notice it as well, have
/// time to say more about it.
double jobSilenceSeconds(double timeoutSeconds);

class JobListener {
public:
  static rt::Expected<std::unique_ptr<JobListener>> create(int ranks);

  int fd() const { return listener.get(); }
  /// What ranks tell each other, as text.
  std::string invitation() const;
  std::string places() const { return given.places(); }

  void addTo(std::vector<pollfd> &entries) const;
  /// Takes in who has come, without waiting.
  void step(const std::function<void(size_t rank, rt::UniqueFd socket)> &found);
  /// Whether somebody is about to have come.
  bool isAwaited() const { return reception->isAwaited(); }

private:
  rt::UniqueFd listener;
  rt::LinkInvitation given;
  std::unique_ptr<rt::LinkReception> reception;
};

/// Connects to the process that has made the invitation, without waiting.
class JobVisit {
public:
  static rt::Expected<std::unique_ptr<JobVisit>>
  create(const std::string &invitation, int rank, double seconds);
  explicit JobVisit(const rt::LinkInvitation &invitation, int rank,
                    double seconds)
      : visit(invitation, rank, seconds) {}

  void addTo(std::vector<pollfd> &entries) const { visit.addTo(entries); }
  /// The connection, once it is there.
  rt::UniqueFd step() { return visit.step(); }
  /// Why it is not.
  std::string error() const { return visit.inVain().message(); }

private:
  rt::LinkVisit visit;
};

} // namespace moe::run

#endif // MOE_TOOLS_MOERUN_JOBLINK_H
