//===- MessageLabels.h - whose messages a device receives -------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Ranks of different hosts hear of each other's collectives later than of
/// their messages, and what is in memory of a device the host does not see. So
/// a label travels beside the first message of every collective: the number of
/// its sender's collective. What has come is copied to host memory, in order of
/// the stream, and compared whenever the host looks. No call waits for it.
///
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_MESSAGELABELS_H
#define MOE_RUNTIME_LIB_CORE_MESSAGELABELS_H

#include "moe-runtime/Backend.h"
#include "moe-runtime/Exchanger.h"
#include "moe-runtime/GroupControl.h"

#include <functional>
#include <vector>

namespace moe::rt {

class MessageLabels {
public:
  MessageLabels(Backend &backend, Memory &memory, int size);

  /// Puts the labels for a message into device memory, in order of the running
  /// call, which is on `stream`. They are to travel as equal parts, whether all
  /// of them are sent or only the first.
  Expected<MessageBuffers> begin(const CollectiveId &mine,
                                 const StreamRef &stream);
  /// What `begin` returned as rows of an exchange: one for each rank. Its
  /// tables live as long as this object.
  RowExchange asRows(const MessageBuffers &labels) const;
  /// Has those that come brought to the host. Their message has been queued.
  Status end();

  /// What is wrong with the label of a message of `mine` that came from `peer`.
  using Compare = std::function<Status(int peer, const CollectiveId &mine,
                                       const CollectiveId &theirs)>;
  /// Compares what has come: the first error, or Ok.
  Status check(const Compare &compare);
  /// All work on `stream` is done, so nothing more comes.
  void finished(const StreamRef &stream);
  /// What is under way is of no more interest. The backend's own stream is
  /// done.
  void reset();
  /// Messages whose labels may still come, or come again.
  size_t numPending() const { return pending.size(); }

private:
  /// A label as it travels. No word of it is 0, so that one that has come can
  /// be told from one that has not.
  struct Label {
    uint64_t words[4];
  };
  /// The labels of a message, which the device may still use.
  struct Pending {
    Label *sent, *received; ///< in host memory, one for each rank
    CollectiveId mine;
    StreamRef stream;
    bool isCaptured; ///< a graph may bring them again and again
  };
  size_t bytes() const { return size_t(size) * sizeof(Label); }
  static Label toLabel(const CollectiveId &id);
  static bool take(const Label &label, CollectiveId &id);
  Expected<Label *> takeMemory();
  template <typename Predicate> void giveBackIf(Predicate isOver);

  Backend &backend;
  Memory &memory;
  const int size;
  /// Tables of an exchange with one row for each rank.
  std::vector<int32_t> starts, counts;
  std::vector<Pending> pending;
  std::vector<Label *> unused;
  /// In memory of the device, between `begin` and `end`.
  char *onDevice = nullptr;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_MESSAGELABELS_H
