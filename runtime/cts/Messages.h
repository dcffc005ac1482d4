//===- Messages.h - calling the artifact that exchanges messages -*- C++
//-*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_CTS_MESSAGES_H
#define MOE_RUNTIME_CTS_MESSAGES_H

#include "Artifacts.h"

namespace moe::rt::cts {

/// The modes of tests/artifacts/messages.c that exchange.c does not have.
enum MessageMode : int64_t {
  rowsOutside = 20,
  endOutside = 21,
  beginTwice = 22,
  gatherInside = 23,
  leaveOpen = 24,
  noCollective = 25,
  negativeBytes = 26
};

/// How rank `who` misbehaves in a call.
struct Misbehaviour {
  int64_t mode = behave;
  int64_t who = 0;
};

using Bytes = std::vector<char>;

/// Rows of one buffer, as one rank gives them to moert_exchange_rows.
struct BufferRows {
  std::vector<int32_t> sendStarts, sendCounts, recvStarts, recvCounts;
  int64_t sendOffset = 0, recvOffset = 0; ///< bytes, in all send and receive
  int64_t rowBytes = 0;
};

/// The artifact for a group of this size. Null where the group has no transport
/// and is not expected to have one; the reason has been printed.
Artifact *loadMessages(Context &context);

/// Calls "all_gather" or "all_to_all".
Status callSpread(Context &context, Artifact &artifact, const char *entry,
                  Bytes send, Bytes &result, Misbehaviour misbehaviour = {});

/// Calls "exchange". `result` holds what was there before, and gets the rows.
Status callExchangeRows(Context &context, Artifact &artifact,
                        const std::vector<BufferRows> &buffers, Bytes send,
                        Bytes &result, Misbehaviour misbehaviour = {});

/// The same, of one buffer of which every rank sends `counts[r][p]` rows of
/// `rowBytes` bytes to rank p; checks what has come when the call is good.
Status exchangeCounts(Context &context, Artifact &artifact,
                      const std::vector<std::vector<int>> &counts,
                      int64_t rowBytes, Misbehaviour misbehaviour = {});

/// What every rank sends in `exchangeCounts`, for calls that are to fail.
std::vector<std::vector<int>> sameCounts(int ranks, int count);

} // namespace moe::rt::cts

#endif // MOE_RUNTIME_CTS_MESSAGES_H
