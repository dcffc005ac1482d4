//===- HostMap.cpp - which ranks share a host -----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/HostMap.h"

#include "moe-runtime/Sha256.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sys/stat.h>
#include <tuple>
#include <unistd.h>

using namespace moe::rt;

static constexpr size_t longestName = 63;

//===----------------------------------------------------------------------===//
// What this process knows
//===----------------------------------------------------------------------===//

std::string moe::rt::hostName() {
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) != 0 || !name[0])
    return "unknown";
  return std::string(name).substr(0, longestName);
}

static Status checkHostId(const std::string &id) {
  std::string what;
  if (id.empty())
    what = "is empty";
  else if (id.size() > longestName)
    what = format("has %zu characters, of which there may be %zu", id.size(),
                  longestName);
  else if (std::any_of(id.begin(), id.end(),
                       [](char c) { return c <= ' ' || c > '~'; }))
    what = "has characters that are not printable ASCII";
  if (what.empty())
    return Status::ok();
  return makeError(MOERT_INVALID_ARGUMENT,
                   "MOE_HOSTID %s; unset it, or give the ranks of each host "
                   "one short name",
                   what.c_str());
}

Expected<HostIdentity> HostIdentity::find(const char *hostId) {
  HostIdentity mine;
  mine.name = hostName();
  if (hostId) {
    if (Status s = checkHostId(hostId); !s.isOk())
      return s;
    mine.name = mine.id = hostId;
  }
  // Where the kernel does not say (some sandboxes), names have to do.
  std::ifstream boot("/proc/sys/kernel/random/boot_id");
  if (!std::getline(boot, mine.machine) || mine.machine.empty())
    mine.machine = "named " + hostName();
  struct stat network;
  if (stat("/proc/self/ns/net", &network) == 0)
    mine.machine += format(" network %llu", (unsigned long long)network.st_ino);
  return mine;
}

//===----------------------------------------------------------------------===//
// What all ranks make of it
//===----------------------------------------------------------------------===//

namespace {
/// What a rank tells the others. Small, since there may be many of them.
struct Record {
  unsigned char machine[16]; ///< of its digest
  uint32_t hasId;
  int32_t code; ///< of the error because of which there is no identity
  char name[longestName + 1]; ///< or what the error is, in short

  bool isOnMachineOf(const Record &other) const {
    return std::memcmp(machine, other.machine, sizeof(machine)) == 0;
  }
  bool isOnHostOf(const Record &other) const {
    return isOnMachineOf(other) &&
           (!hasId || std::strcmp(name, other.name) == 0);
  }
};
} // namespace

static Record makeRecord(const Expected<HostIdentity> &mine) {
  Record record{};
  if (!mine.isOk()) {
    record.code = mine.status().code();
    std::string reason = mine.status().message();
    reason = reason.substr(0, std::min(reason.find(';'), longestName));
    std::copy(reason.begin(), reason.end(), record.name);
    return record;
  }
  Digest digest = sha256(mine->machine);
  std::copy_n(digest.begin(), sizeof(record.machine), record.machine);
  record.hasId = !mine->id.empty();
  const std::string &name = record.hasId ? mine->id : mine->name;
  std::copy_n(name.data(), std::min(name.size(), longestName), record.name);
  return record;
}

/// What all ranks find alike in the records of all.
static Status checkRecords(const std::vector<Record> &all, int rank) {
  auto blame = [&](moert_code code, const std::string &text, size_t peer) {
    return Status(code, text).of(rank).aboutPeer(static_cast<int>(peer));
  };
  for (size_t r = 0; r < all.size(); ++r)
    if (all[r].code != MOERT_OK)
      return blame(MOERT_PEER_FAILED,
                   format("rank %zu failed: %s", r, all[r].name), r);
  for (size_t r = 1; r < all.size(); ++r)
    if (all[r].hasId != all[0].hasId) {
      size_t with = all[0].hasId ? 0 : r, without = all[0].hasId ? r : 0;
      return blame(MOERT_INVALID_ARGUMENT,
                   format("MOE_HOSTID is '%s' on rank %zu, but not set on rank "
                          "%zu: set it on all ranks or on none",
                          all[with].name, with, without),
                   r);
    }
  if (!all[0].hasId)
    return Status::ok();
  for (size_t r = 0; r < all.size(); ++r)
    for (size_t other = 0; other < r; ++other)
      if (std::strcmp(all[r].name, all[other].name) == 0) {
        if (!all[r].isOnMachineOf(all[other]))
          return blame(MOERT_INVALID_ARGUMENT,
                       format("MOE_HOSTID is '%s' on ranks %zu and %zu, which "
                              "are on different machines or in different "
                              "network namespaces: it can split a machine, "
                              "but not join two",
                              all[r].name, other, r),
                       r);
        break; // that one has been compared with those before
      }
  return Status::ok();
}

Expected<HostMap> HostMap::create(Bootstrap &bootstrap) {
  return create(bootstrap, HostIdentity::find(std::getenv("MOE_HOSTID")));
}

Expected<HostMap> HostMap::create(Bootstrap &bootstrap,
                                  const Expected<HostIdentity> &mine) {
  Record record = makeRecord(mine);
  std::vector<Record> all(bootstrap.size());
  Status status = bootstrap.allGather(&record, sizeof(record), all.data());
  if (!mine.isOk())
    return mine.status();
  if (!status.isOk())
    return status.withPrefix("setting up the group");
  if (Status s = checkRecords(all, bootstrap.rank()); !s.isOk())
    return s.withPrefix("finding the hosts of the ranks");

  HostMap map;
  for (size_t r = 0; r < all.size(); ++r) {
    auto lead = std::find_if(
        map.ranksByHost.begin(), map.ranksByHost.end(),
        [&](auto &ranks) { return all[r].isOnHostOf(all[ranks[0]]); });
    map.hostByRank.push_back(int(lead - map.ranksByHost.begin()));
    if (lead == map.ranksByHost.end()) {
      map.ranksByHost.emplace_back();
      all[r].name[longestName] = '\0';
      map.names.push_back(all[r].name);
    }
    map.ranksByHost[map.hostByRank[r]].push_back(int(r));
  }
  // Machines may have equal names.
  std::vector<std::string> given = map.names;
  for (size_t host = 0; host < given.size(); ++host)
    if (std::count(given.begin(), given.end(), given[host]) > 1)
      map.names[host] += format("#%zu", host);
  return map;
}

HostMap HostMap::oneHost(int ranks) {
  HostMap map;
  map.hostByRank.assign(ranks, 0);
  map.ranksByHost.emplace_back();
  for (int r = 0; r < ranks; ++r)
    map.ranksByHost[0].push_back(r);
  map.names.push_back(hostName());
  return map;
}

//===----------------------------------------------------------------------===//
// Words
//===----------------------------------------------------------------------===//

std::string HostMap::describe(int host) const {
  const std::vector<int> &ranks = ranksOf(host);
  bool isRun =
      ranks.size() > 3 && ranks.back() - ranks.front() + 1 == int(ranks.size());
  return nameOf(host) + " (" +
         (isRun ? format("ranks %d to %d", ranks.front(), ranks.back())
                : listRanks(ranks)) +
         ")";
}

std::string HostMap::describe() const {
  constexpr int most = 8;
  int shown = numHosts() > most ? most - 1 : numHosts();
  std::string text;
  for (int host = 0; host < shown; ++host) {
    if (host)
      text += host + 1 == numHosts() ? " and " : ", ";
    text += describe(host);
  }
  if (shown < numHosts())
    text += format(" and %d more hosts", numHosts() - shown);
  return text;
}
