//===- MessageCalls.h - messages of generated code --------------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_MESSAGECALLS_H
#define MOE_RUNTIME_LIB_CORE_MESSAGECALLS_H

#include "MessageLabels.h"

namespace moe::rt {

/// What a context needs for artifacts that exchange messages: the transport,
/// and the exchange that generated code is describing.
struct MessageCalls {
  std::unique_ptr<Exchanger> exchanger;
  /// Where neither the host nor news of other ranks tell in time whose messages
  /// are received; or null.
  std::unique_ptr<MessageLabels> labels;
  uint64_t labelled = 0; ///< number of the last collective that has sent them

  bool isOpen = false; ///< between moert_exchange_begin and _end
  std::vector<RowExchange> rows;
  /// The tables of `rows`, four of each, which generated code may change as
  /// soon as it has described them.
  std::vector<int32_t> tables;

  /// Messages with the headers of collectives; kept from call to call.
  std::vector<char> sent, received;
};

/// `function` was called before moert_exchange_end.
Status openExchangeError(const char *function);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_MESSAGECALLS_H
