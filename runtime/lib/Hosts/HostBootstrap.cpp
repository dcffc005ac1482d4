//===- HostBootstrap.cpp - the ranks of a host as a group -----------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/HostBootstrap.h"

#include <algorithm>
#include <cstring>

using namespace moe::rt;

namespace {
class HostBootstrap : public Bootstrap {
public:
  HostBootstrap(Bootstrap &group, const HostMap &hosts)
      : group(group), ranks(hosts.ranksOf(hosts.hostOf(group.rank()))) {
    myRank = static_cast<int>(
        std::find(ranks.begin(), ranks.end(), group.rank()) - ranks.begin());
    timeout = group.timeoutSeconds();
    if (LocalGroup *threads = group.localGroup())
      local = threads->share<LocalGroup>(
          "host of rank " + std::to_string(ranks.front()),
          [] { return std::make_shared<LocalGroup>(); });
  }

  int rank() const override { return myRank; }
  int size() const override { return static_cast<int>(ranks.size()); }
  LocalGroup *localGroup() override { return local.get(); }
  Bootstrap &whole() override { return group; }
  int rankInWhole(int rank) const override { return ranks[rank]; }

  Status allGather(const void *in, size_t bytes, void *out) override {
    std::vector<char> all(bytes * group.size());
    double before = group.timeoutSeconds();
    group.setTimeout(timeout);
    Status status = group.allGather(in, bytes, all.data());
    group.setTimeout(before);
    for (size_t r = 0; status.isOk() && r < ranks.size(); ++r)
      std::memcpy(static_cast<char *>(out) + bytes * r,
                  all.data() + bytes * ranks[r], bytes);
    return status;
  }

  Status exchangeFds(int fd, std::vector<UniqueFd> &out) override {
    return exchangeFdsOverSockets(*this, fd, out);
  }

private:
  Bootstrap &group;
  std::vector<int> ranks;
  int myRank;
  std::shared_ptr<LocalGroup> local;
};
} // namespace

std::unique_ptr<Bootstrap> moe::rt::createHostBootstrap(Bootstrap &whole,
                                                        const HostMap &hosts) {
  return std::make_unique<HostBootstrap>(whole, hosts);
}
