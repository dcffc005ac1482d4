//===- Exchange.h - an exchange whose ranks are devices of XLA --*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PYTHON_JAX_EXCHANGE_H
#define MOE_PYTHON_JAX_EXCHANGE_H

#include "../runtime/Entry.h"
#include "Turns.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace moe::py {

/// The entries of an artifact as each local device has them.
class XlaExchange {
public:
  using Entries = std::map<std::string, std::shared_ptr<Entry>>;

  /// The ranks of a group that are of this process. A mesh of several axes has
  /// several groups. Exchanges whose ranks are the same share one, since their
  /// calls have to take turns.
  struct Group {
    Group(std::vector<ContextRef> contexts, bool areAllHere)
        : contexts(std::move(contexts)),
          turns(this->contexts.size(), areAllHere) {}
    /// Whether no call is under way.
    bool isIdle();

    const std::vector<ContextRef> contexts; ///< in rank order
    Turns turns;
  };
  /// A rank of this process.
  struct Rank {
    std::shared_ptr<Group> group;
    size_t numInGroup = 0; ///< among those of this process
    Entries entries;
  };

  /// Any thread may be the last to let go of it.
  static std::shared_ptr<XlaExchange> make(std::string fingerprint,
                                           double seconds);

  /// Adds the ranks of a group, each with the number of its device.
  void addGroup(const std::vector<std::pair<int, Entries>> &ranks,
                bool areAllHere);

  /// Makes it known to programs under this number.
  static void publish(std::shared_ptr<XlaExchange> exchange, int64_t number);
  static void retract(int64_t number);
  /// Null when it is closed, or the program was compiled for another one.
  static std::shared_ptr<XlaExchange> find(int64_t number,
                                           const std::string &fingerprint);

  /// The rank of a device, or null.
  Rank *rankOf(int ordinal);
  /// Whether no call is under way on its groups.
  bool isIdle();
  /// Grows as long as calls that wait for each other go on.
  size_t numEnded();
  void resetTurns();

  const std::string fingerprint;
  const double seconds; ///< that a call waits for its turn

private:
  XlaExchange(std::string fingerprint, double seconds)
      : fingerprint(std::move(fingerprint)), seconds(seconds) {}

  std::map<int, std::unique_ptr<Rank>> ranks; ///< by the number of the device
  std::vector<std::shared_ptr<Group>> groups;
};

void bindXla(nanobind::module_ &module);

} // namespace moe::py

#endif // MOE_PYTHON_JAX_EXCHANGE_H
