//===- MachineMemory.cpp - how much memory is to be had -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/MachineMemory.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>

using namespace moe::rt;

/// The sum of the numbers after `keys` in a file of lines "key number".
static std::optional<uint64_t> sumOf(const std::string &path,
                                     std::initializer_list<const char *> keys,
                                     uint64_t unit) {
  std::ifstream file(path);
  std::optional<uint64_t> sum;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    uint64_t number = 0;
    if (!(words >> key >> number))
      continue;
    for (const char *wanted : keys)
      if (key == wanted)
        sum = sum.value_or(0) + number * unit;
  }
  return sum;
}

/// The number in a file; none for "max", or when there is no such file.
static std::optional<uint64_t> numberIn(const std::string &path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (file >> number)
    return number;
  return std::nullopt;
}

namespace {
/// The files of a control group, in either version of them.
struct GroupFiles {
  const char *limit, *usage;
  const char *inactive, *active; ///< keys of memory.stat: cached files
};
} // namespace

/// What a group and those around it leave, from `folder` up to `top`.
static size_t roomOfGroups(std::string folder, const std::string &top,
                           const GroupFiles &files) {
  size_t room = SIZE_MAX;
  for (;;) {
    auto limit = numberIn(folder + files.limit);
    auto usage = numberIn(folder + files.usage);
    if (limit && usage) {
      // Cached files give way.
      uint64_t cached =
          sumOf(folder + "/memory.stat", {files.inactive, files.active}, 1)
              .value_or(0);
      uint64_t used = *usage - std::min(*usage, cached);
      room = std::min<size_t>(room, *limit - std::min(*limit, used));
    }
    if (folder.size() <= top.size())
      return room;
    folder.resize(std::max(folder.rfind('/'), top.size()));
  }
}

/// Where a process of a container finds its group: the path it is told, or the
/// top, when it sees its own group as that.
static size_t roomOfControlGroups(const std::string &root) {
  static constexpr GroupFiles version1 = {
      "/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file",
      "total_active_file"};
  static constexpr GroupFiles version2 = {"/memory.max", "/memory.current",
                                          "inactive_file", "active_file"};
  std::string top = root + "/sys/fs/cgroup";
  size_t room = SIZE_MAX;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
      continue;
    std::string controllers =
        "," + line.substr(first + 1, second - first - 1) + ",";
    std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      for (const char *mount : {"", "/unified"})
        room = std::min(
            room, roomOfGroups(top + mount + path, top + mount, version2));
    } else if (controllers.find(",memory,") != std::string::npos) {
      room = std::min(room, roomOfGroups(top + "/memory" + path,
                                         top + "/memory", version1));
    }
  }
  return room;
}

size_t moe::rt::availableMemoryBytes(const std::string &root) {
  auto machine =
      sumOf(root + "/proc/meminfo", {"MemAvailable:", "SwapFree:"}, 1024);
  return std::min<size_t>(machine.value_or(SIZE_MAX),
                          roomOfControlGroups(root));
}
