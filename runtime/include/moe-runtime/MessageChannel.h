//===- MessageChannel.h - messages from rank to rank ------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_MESSAGECHANNEL_H
#define MOE_RUNTIME_MESSAGECHANNEL_H

#include "moe-runtime/Bootstrap.h"

#include <memory>
#include <string>

namespace moe::rt {

/// A rank's end of what takes messages to any other rank, in order.
class MessageChannel {
public:
  virtual ~MessageChannel();

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Does not wait for the peer to receive.
  virtual Status send(int peer, std::string message) = 0;
  /// The next message from `peer`; MOERT_TIMEOUT after `seconds` without one.
  virtual Expected<std::string> receive(int peer, double seconds) = 0;
};

/// A group whose ranks have nothing but messages. Each rank sends one message
/// to each of log2(R) others in an all-gather, rounded up.
std::unique_ptr<Bootstrap>
createMessageBootstrap(std::unique_ptr<MessageChannel> channel);

} // namespace moe::rt

#endif // MOE_RUNTIME_MESSAGECHANNEL_H
