//===- SocketBootstrap.cpp - a rank's end of a hub's socket ---------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SocketIO.h"
#include "moe-runtime/Bootstrap.h"
#include "moe-runtime/SocketHub.h"
#include "moe-runtime/Timings.h"

#include <cstring>

using namespace moe::rt;

namespace {
class SocketBootstrap : public Bootstrap {
public:
  SocketBootstrap(UniqueFd socket, int rank, int size, std::string hub)
      : socket(std::move(socket)), myRank(rank), groupSize(size),
        hub(std::move(hub)) {}

  int rank() const override { return myRank; }
  int size() const override { return groupSize; }

  Status allGather(const void *in, size_t bytes, void *out) override {
    std::vector<UniqueFd> fds;
    return exchange(in, bytes, -1, out, fds);
  }

  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override {
    char hasFd = fd >= 0;
    std::vector<char> has(groupSize);
    std::vector<UniqueFd> fds;
    if (Status s = exchange(&hasFd, 1, fd, has.data(), fds); !s.isOk())
      return s;
    out.clear();
    size_t next = 0;
    for (int r = 0; r < groupSize; ++r) {
      if (has[r] && next == fds.size())
        return makeError(MOERT_IO,
                         "the descriptor of rank %d was lost; this process may "
                         "have too many open files",
                         r);
      out.push_back(has[r] ? std::move(fds[next++]) : UniqueFd());
    }
    return Status::ok();
  }

private:
  Status exchange(const void *in, size_t bytes, int fd, void *out,
                  std::vector<UniqueFd> &fds);
  Status explain(const Status &status) const;

  UniqueFd socket;
  int myRank;
  int groupSize;
  std::string hub; ///< the process at the other end
  uint64_t sequence = 0;
};
} // namespace

Status SocketBootstrap::explain(const Status &status) const {
  if (status.code() == MOERT_TIMEOUT)
    return Status(MOERT_TIMEOUT, "bootstrap: " + hub +
                                     " does not answer; it may have been "
                                     "stopped");
  return status.withPrefix("bootstrap: lost " + hub);
}

Status SocketBootstrap::exchange(const void *in, size_t bytes, int fd,
                                 void *out, std::vector<UniqueFd> &fds) {
  // The hub keeps the time, since it knows who is missing; the deadline here
  // is for the case that it is gone.
  HubFrame frame{HubFrame::magicValue,
                 HubFrame::Exchange,
                 ++sequence,
                 bytes,
                 uint32_t(timeout * 1e3),
                 0};
  int64_t deadline = nowNs() + int64_t((timeout + 2) * 1e9);
  std::string message(reinterpret_cast<const char *>(&frame), sizeof(frame));
  message.append(static_cast<const char *>(in), bytes);
  std::deque<UniqueFd> received;
  Status status = sendAll(socket.get(), message.data(), message.size(),
                          deadline, &fd, fd >= 0 ? 1 : 0);
  if (status.isOk())
    status =
        receiveAll(socket.get(), &frame, sizeof(frame), deadline, received);
  if (!status.isOk())
    return explain(status);
  if (frame.magic != HubFrame::magicValue || frame.bytes > (uint64_t(1) << 34))
    return Status(MOERT_INTERNAL, "bootstrap: malformed answer");
  std::string payload(frame.bytes, '\0');
  status = receiveAll(socket.get(), payload.data(), payload.size(), deadline,
                      received);
  if (!status.isOk())
    return explain(status);
  if (frame.kind == HubFrame::Error)
    return Status(static_cast<moert_code>(frame.code), payload);
  if (frame.kind != HubFrame::Result || frame.sequence != sequence ||
      payload.size() != bytes * groupSize)
    return Status(MOERT_INTERNAL, "bootstrap: unexpected answer");
  std::memcpy(out, payload.data(), payload.size());
  for (UniqueFd &one : received)
    fds.push_back(std::move(one));
  return Status::ok();
}

std::unique_ptr<Bootstrap>
moe::rt::createSocketBootstrap(UniqueFd socket, int rank, int size,
                               const std::string &hub) {
  return std::make_unique<SocketBootstrap>(std::move(socket), rank, size, hub);
}

void moe::rt::sendReport(int socket, const std::string &text, double seconds) {
  HubFrame frame{HubFrame::magicValue, HubFrame::Report, 0, text.size(), 0, 0};
  std::string message(reinterpret_cast<const char *>(&frame), sizeof(frame));
  message += text;
  int64_t deadline = nowNs() + int64_t(seconds * 1e9);
  Status ignored = sendAll(socket, message.data(), message.size(), deadline);
  (void)ignored;
}
