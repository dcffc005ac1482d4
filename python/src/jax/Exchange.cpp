//===- Exchange.cpp - an exchange whose ranks are devices of XLA ----------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Exchange.h"

#include "../Gil.h"

#include <algorithm>

using namespace moe::py;

namespace {
/// Programs name exchanges by numbers, which are never given again.
struct Published {
  std::mutex mutex;
  std::map<int64_t, std::shared_ptr<XlaExchange>> exchanges;
};
} // namespace

static Published &published() {
  // Not destroyed: threads of XLA may ask until the process has ended.
  static auto *all = new Published;
  return *all;
}

bool XlaExchange::Group::isIdle() {
  return turns.isIdle() &&
         std::none_of(contexts.begin(), contexts.end(),
                      [](const auto &context) { return context->isRunning(); });
}

/// The group of these ranks, which other exchanges may have already.
static std::shared_ptr<XlaExchange::Group>
groupOf(std::vector<ContextRef> contexts, bool areAllHere) {
  using Group = XlaExchange::Group;
  // By the first rank, which is of one group alone. An address that is used
  // again belongs to a group that has expired.
  static std::mutex mutex;
  static auto *known = new std::map<const Context *, std::weak_ptr<Group>>;
  std::lock_guard<std::mutex> lock(mutex);
  for (auto it = known->begin(); it != known->end();)
    it = it->second.expired() ? known->erase(it) : std::next(it);
  std::weak_ptr<Group> &place = (*known)[contexts.front().get()];
  std::shared_ptr<Group> group = place.lock();
  if (!group) {
    group = std::make_shared<Group>(std::move(contexts), areAllHere);
    place = group;
  }
  return group;
}

/// Its entries are objects of Python. A thread of a call has it a little longer
/// than the call lasts, and so may be the last when the program has ended.
std::shared_ptr<XlaExchange> XlaExchange::make(std::string fingerprint,
                                               double seconds) {
  auto destroy = [](XlaExchange *exchange) {
    withGilUntilTheEnd([exchange] { delete exchange; });
  };
  return {new XlaExchange(std::move(fingerprint), seconds), destroy};
}

void XlaExchange::addGroup(const std::vector<std::pair<int, Entries>> &given,
                           bool areAllHere) {
  std::vector<ContextRef> contexts;
  for (const auto &[ordinal, entries] : given) {
    if (entries.empty())
      refuse("device " + std::to_string(ordinal) + " has no entries");
    contexts.push_back(entries.begin()->second->owner().context);
  }
  auto group = groupOf(std::move(contexts), areAllHere);
  groups.push_back(group);
  for (size_t i = 0; i < given.size(); ++i) {
    auto rank = std::make_unique<Rank>();
    rank->group = group;
    rank->numInGroup = i;
    rank->entries = given[i].second;
    if (!ranks.emplace(given[i].first, std::move(rank)).second)
      refuse("device " + std::to_string(given[i].first) + " is two ranks");
  }
}

void XlaExchange::publish(std::shared_ptr<XlaExchange> exchange,
                          int64_t number) {
  Published &all = published();
  std::lock_guard<std::mutex> lock(all.mutex);
  if (!all.exchanges.emplace(number, std::move(exchange)).second)
    refuse("another exchange has the number " + std::to_string(number));
}

void XlaExchange::retract(int64_t number) {
  std::shared_ptr<XlaExchange> last; // destroyed without the mutex
  Published &all = published();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto found = all.exchanges.find(number);
  if (found == all.exchanges.end())
    return;
  last = std::move(found->second);
  all.exchanges.erase(found);
}

std::shared_ptr<XlaExchange> XlaExchange::find(int64_t number,
                                               const std::string &fingerprint) {
  Published &all = published();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto found = all.exchanges.find(number);
  if (found == all.exchanges.end() || found->second->fingerprint != fingerprint)
    return nullptr;
  return found->second;
}

XlaExchange::Rank *XlaExchange::rankOf(int ordinal) {
  auto found = ranks.find(ordinal);
  return found == ranks.end() ? nullptr : found->second.get();
}

bool XlaExchange::isIdle() {
  return std::all_of(groups.begin(), groups.end(),
                     [](const auto &group) { return group->isIdle(); });
}

size_t XlaExchange::numEnded() {
  size_t sum = 0;
  for (const auto &group : groups)
    sum += group->turns.numEnded();
  return sum;
}

void XlaExchange::resetTurns() {
  for (const auto &group : groups)
    group->turns.reset();
}
