//===- MessageCalls.cpp - messages of generated code ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Context's part of moert_all_gather, moert_all_to_all and moert_exchange_*:
/// it checks what generated code asks for, bounds the waits, and sees to it
/// that messages belong to one collective. Moving them is the transport's
/// business.
///
/// In host memory each part of an all-gather or an all-to-all, with which every
/// collective begins, carries the number of its sender's collective. So ranks
/// in different collectives learn of it from the message itself, however late
/// news of other hosts are. Between devices of several hosts the number travels
/// beside the first message of a collective (MessageLabels.h).
///
//===----------------------------------------------------------------------===//

#include "MessageCalls.h"

#include "CallGuard.h"
#include "moe-runtime/Context.h"
#include "moe-runtime/Deadline.h"

#include <algorithm>
#include <cstring>
#include <thread>

using namespace moe::rt;

Status moe::rt::openExchangeError(const char *function) {
  return makeError(MOERT_INTERNAL,
                   "%s between moert_exchange_begin and moert_exchange_end",
                   function);
}

//===----------------------------------------------------------------------===//
// The transport
//===----------------------------------------------------------------------===//

/// Ranks of several hosts share no memory.
Status Context::checkTransport(const Manifest &manifest) const {
  if (!manifest.communicates() || manifest.usesMessages() ||
      hostMap.isOneHost())
    return Status::ok();
  const char *remedy = manifest.backendName() == "cuda"
                           ? "--target nccl"
                           : "--transport=messages";
  return makeError(MOERT_UNAVAILABLE,
                   "in the artifact ranks reach each other's memory, but the "
                   "group has %d hosts, %s; compile the module with %s",
                   hostMap.numHosts(), hostMap.describe().c_str(), remedy)
      .expecting("one host", hostMap.describe());
}

/// Collective. The first artifact with messages brings the transport.
Status Context::openTransport() {
  if (messages)
    return Status::ok();
  // Connecting takes longer than a message, and longer the more hosts there
  // are.
  auto exchanger =
      createExchanger({*bootstrap, hostMap, *backend, *group, *symmHeap,
                       options.lent, std::max(options.timeoutSeconds, 60.0)});
  if (!exchanger.isOk())
    return exchanger.status();
  messages = std::make_unique<MessageCalls>();
  messages->exchanger = exchanger.take();
  if (backend->isAsynchronous() && !hostMap.isOneHost())
    messages->labels =
        std::make_unique<MessageLabels>(*backend, *arena, size());
  return Status::ok();
}

/// What went wrong in the transport outside of a call.
Status Context::transportError() const {
  return messages ? group->nameDeath(messages->exchanger->poll())
                  : Status::ok();
}

//===----------------------------------------------------------------------===//
// Which collective messages belong to
//===----------------------------------------------------------------------===//

/// "moe.dispatch at layer.mlir:3:5". Loads are collective, so what another rank
/// runs is loaded here, too.
std::string Context::describeCollective(const CollectiveId &id) const {
  for (const std::unique_ptr<Artifact> &artifact : artifacts) {
    const std::vector<Manifest::Site> &sites = artifact->manifest().sites;
    if (artifact->identity() == id.artifact && id.site < sites.size())
      return sites[id.site].op + " at " + sites[id.site].location;
  }
  return "a collective of an artifact that is not loaded";
}

Status Context::compareCollectives(int peer, const CollectiveId &mine,
                                   const CollectiveId &theirs) const {
  if (mine == theirs)
    return Status::ok();
  std::string here = describeCollective(mine);
  std::string there = describeCollective(theirs);
  if (here == there) {
    auto number = [](std::string &text, const CollectiveId &id) {
      text += format(" (collective %llu, in operation %llu)",
                     (unsigned long long)id.ordinal,
                     (unsigned long long)id.groupOp);
    };
    number(here, mine);
    number(there, theirs);
  }
  return makeError(MOERT_COLLECTIVE_MISMATCH,
                   "rank %d: ranks call different collectives: rank %d is in "
                   "%s, but rank %d is in %s",
                   rank(), rank(), here.c_str(), peer, there.c_str())
      .aboutPeer(peer)
      .expecting(here, there);
}

/// What the labels tell that have come by now. The call that they are of may
/// have returned.
Status Context::checkLabels() const {
  if (!messages || !messages->labels)
    return Status::ok();
  return messages->labels->check(
      [this](int peer, const CollectiveId &mine, const CollectiveId &theirs) {
        return compareCollectives(peer, mine, theirs);
      });
}

/// The transport has an error. Mostly that is one of ranks that call different
/// collectives, or that have died, of which this one may be about to hear:
/// links between hosts tell where ranks are every 200 ms.
Status Context::awaitNews() const {
  Deadline deadline(hostMap.isOneHost() ? 0.1 : 0.5);
  for (;;) {
    Status reason = group->checkGroup();
    if (!reason.isOk() || deadline.isOver())
      return reason;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

/// Ends an exchange with what the transport said.
bool Context::endMessages(const Status &status, bool isPlaced) {
  if (status.isOk()) {
    for (int peer = 0; peer < size(); ++peer)
      if (!checkOrder(peer))
        return false;
    return true;
  }
  if (isPlaced)
    return stop(status);
  if (Status named = group->nameDeath(status);
      named.details().peer != status.details().peer)
    return stop(named.withPrefix(here()));
  bool isOfMessages = status.code() == MOERT_INVALID_COUNT ||
                      status.code() == MOERT_PEER_FAILED ||
                      status.code() == MOERT_INTERNAL;
  Status reason = isOfMessages ? awaitNews() : group->checkGroup();
  return stop(reason.isOk() ? status.withPrefix(here()) : reason);
}

//===----------------------------------------------------------------------===//
// What generated code asks for
//===----------------------------------------------------------------------===//

/// Whether generated code may call `function` here.
Status Context::checkMessageCall(const char *function) const {
  if (!messages || !running->artifact->manifest().usesMessages())
    return makeError(MOERT_INTERNAL,
                     "%s in an artifact whose manifest does not say "
                     "\"transport\": \"messages\"",
                     function);
  if (!inCollective)
    return makeError(MOERT_INTERNAL, "%s outside of a collective", function);
  return Status::ok();
}

/// Calls `move` with the labels to send beside the message: null where none
/// are needed. On one host the control plane tells in time whose messages come,
/// and the label of a collective's first message speaks for all of them.
template <typename Move> Status Context::moveLabelled(Move move) {
  MessageLabels *labels = messages->labels.get();
  if (!labels || messages->labelled == collectiveNumber)
    return move(nullptr);
  if (Status s = checkLabels(); !s.isOk())
    return s;
  auto label = labels->begin(group->collective(), runningOn);
  if (!label.isOk())
    return label.status();
  messages->labelled = collectiveNumber;
  Status status = move(&*label);
  return status.isOk() ? labels->end() : status;
}

bool Context::spread(Spread kind, const void *send, void *recv, int64_t bytes) {
  bool isGather = kind == Spread::Gather;
  const char *function = isGather ? "moert_all_gather" : "moert_all_to_all";
  Status wrong = checkMessageCall(function);
  if (wrong.isOk() && messages->isOpen)
    wrong = openExchangeError(function);
  if (wrong.isOk() && bytes < 0)
    wrong = makeError(MOERT_INTERNAL, "%s of %lld bytes", function,
                      (long long)bytes);
  if (!wrong.isOk())
    return stop(wrong.withPrefix(here()));

  Exchanger &exchanger = *messages->exchanger;
  CallGuard guard(exchanger, *group, options.timeoutSeconds);
  auto move = [&](const std::vector<MessageBuffers> &buffers) {
    return isGather ? exchanger.allGather(buffers, runningOn, guard)
                    : exchanger.allToAll(buffers, runningOn, guard);
  };
  if (backend->isAsynchronous()) {
    MessageBuffers message{send, recv, size_t(bytes)};
    Status status = moveLabelled([&](const MessageBuffers *labels) {
      // First, as in an exchange of rows: then they fit each other.
      return labels ? move({*labels, message}) : move({message});
    });
    return endMessages(status, guard.gave(status));
  }

  CollectiveId mine = group->collective();
  constexpr size_t header = sizeof(CollectiveId);
  size_t each = header + size_t(bytes), ranks = size_t(size());
  std::vector<char> &sent = messages->sent, &received = messages->received;
  sent.resize(isGather ? each : each * ranks);
  received.resize(each * ranks);
  const char *next = static_cast<const char *>(send);
  for (size_t at = 0; at < sent.size(); at += each, next += bytes) {
    std::memcpy(&sent[at], &mine, header);
    if (bytes > 0)
      std::memcpy(&sent[at + header], next, size_t(bytes));
  }
  Status status = move({{sent.data(), received.data(), each}});
  if (!status.isOk())
    return endMessages(status, guard.gave(status));
  for (int peer = 0; peer < size(); ++peer) {
    const char *part = &received[each * size_t(peer)];
    CollectiveId theirs;
    std::memcpy(&theirs, part, header);
    if (Status s = compareCollectives(peer, mine, theirs); !s.isOk())
      return stop(s);
    if (bytes > 0)
      std::memcpy(static_cast<char *>(recv) + size_t(bytes) * size_t(peer),
                  part + header, size_t(bytes));
  }
  return endMessages(Status::ok(), false);
}

bool Context::beginExchange() {
  Status wrong = checkMessageCall("moert_exchange_begin");
  if (wrong.isOk() && messages->isOpen)
    wrong = openExchangeError("moert_exchange_begin");
  if (!wrong.isOk())
    return stop(wrong.withPrefix(here()));
  messages->isOpen = true;
  messages->rows.clear();
  messages->tables.clear();
  return true;
}

/// What is wrong with the tables of an exchange of rows.
static Status checkRows(const RowExchange &rows, int rank, int size) {
  if (int64_t(rows.rowBytes) < 0)
    return makeError(MOERT_INTERNAL, "moert_exchange_rows: rows of %lld bytes",
                     (long long)rows.rowBytes);
  const std::pair<const char *, const int32_t *> tables[] = {
      {"send_starts", rows.sendStarts},
      {"send_counts", rows.sendCounts},
      {"recv_starts", rows.recvStarts},
      {"recv_counts", rows.recvCounts}};
  for (auto [name, table] : tables)
    for (int peer = 0; peer < size; ++peer)
      if (table[peer] < 0)
        return makeError(MOERT_INTERNAL, "moert_exchange_rows: %s[%d] is %d",
                         name, peer, int(table[peer]))
            .aboutPeer(peer)
            .expecting("0 or more", std::to_string(table[peer]));
  if (rows.sendCounts[rank] != rows.recvCounts[rank])
    return makeError(MOERT_INVALID_COUNT,
                     "moert_exchange_rows: the rank sends itself %d rows, but "
                     "expects %d",
                     int(rows.sendCounts[rank]), int(rows.recvCounts[rank]))
        .aboutPeer(rank)
        .expecting(std::to_string(rows.recvCounts[rank]),
                   std::to_string(rows.sendCounts[rank]));
  return Status::ok();
}

bool Context::exchangeRows(const RowExchange &rows) {
  Status wrong = checkMessageCall("moert_exchange_rows");
  if (wrong.isOk() && !messages->isOpen)
    wrong = Status(MOERT_INTERNAL, "moert_exchange_rows without "
                                   "moert_exchange_begin before it");
  if (wrong.isOk())
    wrong = checkRows(rows, rank(), size());
  if (!wrong.isOk())
    return stop(wrong.withPrefix(here()));
  messages->rows.push_back(rows);
  std::vector<int32_t> &kept = messages->tables;
  for (const int32_t *table :
       {rows.sendStarts, rows.sendCounts, rows.recvStarts, rows.recvCounts})
    kept.insert(kept.end(), table, table + size());
  return true;
}

bool Context::endExchange() {
  Status wrong = checkMessageCall("moert_exchange_end");
  if (wrong.isOk() && !messages->isOpen)
    wrong = Status(MOERT_INTERNAL, "moert_exchange_end without "
                                   "moert_exchange_begin before it");
  if (!wrong.isOk())
    return stop(wrong.withPrefix(here()));
  messages->isOpen = false;
  const int32_t *table = messages->tables.data();
  for (RowExchange &rows : messages->rows)
    for (const int32_t **kept : {&rows.sendStarts, &rows.sendCounts,
                                 &rows.recvStarts, &rows.recvCounts}) {
      *kept = table;
      table += size();
    }
  CallGuard guard(*messages->exchanger, *group, options.timeoutSeconds);
  Status status = moveLabelled([&](const MessageBuffers *labels) {
    if (labels)
      messages->rows.insert(messages->rows.begin(),
                            messages->labels->asRows(*labels));
    return messages->exchanger->exchange(messages->rows, runningOn, guard);
  });
  return endMessages(status, guard.gave(status));
}
