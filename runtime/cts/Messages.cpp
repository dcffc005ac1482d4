//===- Messages.cpp - calling the artifact that exchanges messages --------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Messages.h"
#include "../tests/PairBytes.h"

#include <algorithm>

using namespace moe::rt;
using namespace moe::rt::cts;

Artifact *moe::rt::cts::loadMessages(Context &context) {
  auto artifact =
      context.load(artifactPath(format("messages%d", context.size())), "art");
  if (artifact.isOk())
    return *artifact;
  const std::string &message = artifact.status().message();
  if (backendUnderTest.mayLackTransport &&
      artifact.status().code() == MOERT_UNAVAILABLE)
    lackForTest(message);
  else
    ADD_FAILURE() << message;
  return nullptr;
}

namespace {
/// A tensor of host memory, of one dimension or of none.
struct HostTensor {
  HostTensor(void *data, DLDataType type, int64_t count, int dims)
      : shape{count} {
    tensor.data = data;
    tensor.device = {kDLCPU, 0};
    tensor.dtype = type;
    tensor.ndim = dims;
    tensor.shape = shape;
  }
  HostTensor(const HostTensor &) = delete;

  int64_t shape[1];
  DLTensor tensor{};
};
} // namespace

static constexpr DLDataType i8{kDLInt, 8, 1}, i32{kDLInt, 32, 1},
    i64{kDLInt, 64, 1};

static Status callEntry(Context &context, Artifact &artifact, const char *name,
                        const std::vector<const DLTensor *> &inputs,
                        Bytes &result) {
  auto entry = artifact.entry(name);
  if (!entry.isOk())
    return entry.status();
  std::vector<DLManagedTensor *> outputs;
  Status status = context.call(**entry, inputs, outputs);
  if (!status.isOk())
    return status;
  const DLTensor &out = outputs[0]->dl_tensor;
  result.resize(size_t(out.shape[0]));
  status = context.copyToHost(out, result.data(), result.size());
  outputs[0]->deleter(outputs[0]);
  return status;
}

Status moe::rt::cts::callSpread(Context &context, Artifact &artifact,
                                const char *entry, Bytes send, Bytes &result,
                                Misbehaviour misbehaviour) {
  HostTensor mode(&misbehaviour.mode, i64, 1, 0);
  HostTensor who(&misbehaviour.who, i64, 1, 0);
  HostTensor bytes(send.data(), i8, int64_t(send.size()), 1);
  return callEntry(context, artifact, entry,
                   {&mode.tensor, &who.tensor, &bytes.tensor}, result);
}

Status moe::rt::cts::callExchangeRows(Context &context, Artifact &artifact,
                                      const std::vector<BufferRows> &buffers,
                                      Bytes send, Bytes &result,
                                      Misbehaviour misbehaviour) {
  std::vector<int32_t> tables;
  std::vector<int64_t> layout;
  for (const BufferRows &rows : buffers) {
    for (const auto *table : {&rows.sendStarts, &rows.sendCounts,
                              &rows.recvStarts, &rows.recvCounts})
      tables.insert(tables.end(), table->begin(), table->end());
    layout.insert(layout.end(),
                  {rows.sendOffset, rows.recvOffset, rows.rowBytes});
  }
  Bytes before = result;
  HostTensor mode(&misbehaviour.mode, i64, 1, 0);
  HostTensor who(&misbehaviour.who, i64, 1, 0);
  HostTensor tableTensor(tables.data(), i32, int64_t(tables.size()), 1);
  HostTensor layoutTensor(layout.data(), i64, int64_t(layout.size()), 1);
  HostTensor sendTensor(send.data(), i8, int64_t(send.size()), 1);
  HostTensor beforeTensor(before.data(), i8, int64_t(before.size()), 1);
  return callEntry(context, artifact, "exchange",
                   {&mode.tensor, &who.tensor, &tableTensor.tensor,
                    &layoutTensor.tensor, &sendTensor.tensor,
                    &beforeTensor.tensor},
                   result);
}

std::vector<std::vector<int>> moe::rt::cts::sameCounts(int ranks, int count) {
  return std::vector<std::vector<int>>(ranks, std::vector<int>(ranks, count));
}

Status moe::rt::cts::exchangeCounts(Context &context, Artifact &artifact,
                                    const std::vector<std::vector<int>> &counts,
                                    int64_t rowBytes,
                                    Misbehaviour misbehaviour) {
  int me = context.rank(), size = context.size();
  BufferRows rows;
  rows.rowBytes = rowBytes;
  Bytes send, expected;
  int32_t sent = 0, received = 0;
  for (int peer = 0; peer < size; ++peer) {
    rows.sendStarts.push_back(sent);
    rows.recvStarts.push_back(received);
    rows.sendCounts.push_back(counts[me][peer]);
    rows.recvCounts.push_back(counts[peer][me]);
    sent += counts[me][peer];
    received += counts[peer][me];
    appendPairBytes(send, me, peer, size_t(counts[me][peer] * rowBytes));
    appendPairBytes(expected, peer, me, size_t(counts[peer][me] * rowBytes));
  }
  Bytes result(expected.size(), 0);
  Status status =
      callExchangeRows(context, artifact, {rows}, send, result, misbehaviour);
  bool isComplete = misbehaviour.mode != leaveEarly || misbehaviour.who != me;
  if (status.isOk() && isComplete && result != expected) {
    auto wrong = std::mismatch(result.begin(), result.end(), expected.begin());
    ADD_FAILURE() << "rank " << me << ": byte " << wrong.first - result.begin()
                  << " of " << result.size() << " is " << int(*wrong.first)
                  << ", expected " << int(*wrong.second);
  }
  return status;
}
