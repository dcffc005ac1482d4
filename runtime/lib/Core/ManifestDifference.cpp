//===- ManifestDifference.cpp - in what two artifacts differ --------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

using namespace moe::rt;
using Json = nlohmann::json;

static std::string textOf(const Json &value) {
  if (value.is_string())
    return value.get<std::string>();
  if (value.is_null())
    return "nothing";
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// "(4 and 8)"; of long texts the part around the first difference.
static std::string shownPair(const Json &mine, const Json &theirs) {
  constexpr size_t most = 80;
  std::string texts[2] = {textOf(mine), textOf(theirs)};
  size_t from = 0;
  if (std::max(texts[0].size(), texts[1].size()) > most) {
    while (from < texts[0].size() && from < texts[1].size() &&
           texts[0][from] == texts[1][from])
      ++from;
    // Lists are read from the start of an item on.
    size_t item = texts[0].rfind(", ", from);
    from = item == std::string::npos ? 0 : item + 2;
  }
  for (std::string &text : texts) {
    bool isCut = from > 0, isLong = text.size() - from > most;
    text = text.substr(from, most);
    text = (isCut ? "..." : "") + text + (isLong ? "..." : "");
  }
  const char *quote = mine.is_string() && theirs.is_string() ? "'" : "";
  return "(" + (quote + texts[0]) + quote + " and " + quote + texts[1] + quote +
         ")";
}

/// Appends what an element of a list is called, where it has a name.
static std::string nameOf(const Json &value) {
  for (const char *key : {"name", "op"})
    if (value.is_object() && value.contains(key) && value[key].is_string())
      return " ('" + value[key].get<std::string>() + "')";
  return "";
}

static std::string firstDifference(const Json &mine, const Json &theirs,
                                   const std::string &where);

/// The keys of both, those that say most first.
static std::vector<std::string> keysOf(const Json &mine, const Json &theirs) {
  static const std::vector<std::string> first = {
      "target", "ranks",      "transport", "entries", "sites",    "name",
      "op",     "args",       "results",   "dtype",   "shape",    "symmetric",
      "host",   "attributes", "location",  "gpu",     "producer", "cpu"};
  std::vector<std::string> keys;
  for (const Json *object : {&mine, &theirs})
    for (auto &item : object->items())
      if (std::find(keys.begin(), keys.end(), item.key()) == keys.end())
        keys.push_back(item.key());
  auto placeOf = [&](const std::string &key) {
    // Follows from what differs otherwise.
    if (key == "hash")
      return first.size() + 1;
    return size_t(std::find(first.begin(), first.end(), key) - first.begin());
  };
  auto order = [&](const std::string &key) {
    return std::pair<size_t, std::string_view>(placeOf(key), key);
  };
  std::sort(keys.begin(), keys.end(),
            [&](auto &a, auto &b) { return order(a) < order(b); });
  return keys;
}

static std::string differenceOfLists(const Json &mine, const Json &theirs,
                                     const std::string &where) {
  for (size_t i = 0; i < std::min(mine.size(), theirs.size()); ++i) {
    std::string name =
        nameOf(mine[i]) == nameOf(theirs[i]) ? nameOf(mine[i]) : std::string();
    std::string found = firstDifference(
        mine[i], theirs[i], where + "[" + std::to_string(i) + "]" + name);
    if (!found.empty())
      return found;
  }
  if (mine.size() == theirs.size())
    return "";
  return "the number of " + where + " (" + std::to_string(mine.size()) +
         " and " + std::to_string(theirs.size()) + ")";
}

/// "ranks (4 and 8)", or "" when the two are equal.
static std::string firstDifference(const Json &mine, const Json &theirs,
                                   const std::string &where) {
  if (mine == theirs)
    return "";
  bool isList = mine.is_array() && theirs.is_array() && !mine.empty() &&
                mine[0].is_object();
  if (isList)
    return differenceOfLists(mine, theirs, where);
  if (!mine.is_object() || !theirs.is_object())
    return where + " " + shownPair(mine, theirs);
  for (const std::string &key : keysOf(mine, theirs)) {
    Json none;
    std::string found =
        firstDifference(mine.value(key, none), theirs.value(key, none),
                        where.empty() ? key : where + "." + key);
    if (!found.empty())
      return found;
  }
  return "";
}

std::string moe::rt::describeDifference(const std::string &mine,
                                        const std::string &theirs) {
  Json a = Json::parse(mine, nullptr, /*allow_exceptions=*/false);
  Json b = Json::parse(theirs, nullptr, /*allow_exceptions=*/false);
  if (!a.is_object() || !b.is_object())
    return mine == theirs ? "" : "their manifests";
  return firstDifference(a, b, "");
}
