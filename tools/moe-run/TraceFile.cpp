//===- TraceFile.cpp - what ranks did when, for trace viewers
//-------------===////
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TraceFile.h"

#include <algorithm>
#include <nlohmann/json.hpp>

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::ordered_json;

size_t moe::run::traceCapacity(int ranks) {
  constexpr size_t mostOfAll = size_t(1) << 18, mostOfOne = size_t(1) << 16;
  return std::clamp<size_t>(mostOfAll / ranks, 1, mostOfOne);
}

std::string moe::run::toText(const RankTrace &trace) {
  Json json = {{"rank", trace.rank},       {"device", trace.device},
               {"dropped", trace.dropped}, {"rows", Json::array()},
               {"events", Json::array()},  {"calls", trace.calls}};
  for (const Timings::Row &row : trace.rows)
    json["rows"].push_back({row.op, row.location, row.phase});
  for (const Trace::Event &event : trace.events)
    json["events"].push_back({event.row, event.begin, event.end});
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

namespace {
/// Puts together the events of one rank.
class Writer {
public:
  Writer(Json &events, const Json &rank, int64_t origin)
      : events(events), rank(rank), origin(origin) {}

  void writeName();
  void writeCalls(const std::string &entry);
  void writeOps();
  void writePhases();

private:
  /// A bar from `begin` to `end`, in nanoseconds of the clock.
  Json &add(const std::string &name, const char *category, int64_t begin,
            int64_t end) {
    events.push_back({{"name", name},
                      {"cat", category},
                      {"ph", "X"},
                      {"ts", (begin - origin) / 1e3},
                      {"dur", (end - begin) / 1e3},
                      {"pid", rank["rank"]},
                      {"tid", 0}});
    return events.back();
  }

  Json &events;
  const Json &rank;
  int64_t origin; ///< time 0 of the document
};
} // namespace

void Writer::writeName() {
  std::string name = "rank " + std::to_string(rank["rank"].get<int>());
  const std::string device = rank["device"];
  if (!device.empty())
    name += " (" + device + ")";
  events.push_back({{"name", "process_name"},
                    {"ph", "M"},
                    {"pid", rank["rank"]},
                    {"tid", 0},
                    {"args", {{"name", name}}}});
}

void Writer::writeCalls(const std::string &entry) {
  int64_t number = 0;
  for (const Json &call : rank["calls"])
    add(entry, "call", call[0], call[1])["args"] = {{"call", number++}};
}

/// Phases that follow each other and are of one op make a bar of the op; its
/// phase "begin" starts a new one.
void Writer::writeOps() {
  const Json &list = rank["events"];
  for (size_t i = 0; i < list.size();) {
    const Json &row = rank["rows"][list[i][0].get<size_t>()];
    size_t last = i;
    auto continues = [&](const Json &event) {
      const Json &next = rank["rows"][event[0].get<size_t>()];
      return next[0] == row[0] && next[1] == row[1] && next[2] != "begin";
    };
    while (last + 1 < list.size() && continues(list[last + 1]))
      ++last;
    if (row[0] != "")
      add(row[0], "op", list[i][1],
          list[last][2])["args"] = {{"location", row[1]}};
    i = last + 1;
  }
}

void Writer::writePhases() {
  for (const Json &event : rank["events"]) {
    const Json &row = rank["rows"][event[0].get<size_t>()];
    Json &bar = add(row[2], "phase", event[1], event[2]);
    if (row[0] != "")
      bar["args"] = {{"op", row[0]}, {"location", row[1]}};
  }
}

std::string moe::run::makeTraceDocument(const std::string &entry,
                                        const std::vector<std::string> &texts) {
  std::vector<Json> ranks;
  for (const std::string &text : texts) {
    Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_discarded())
      ranks.push_back(std::move(parsed));
  }
  int64_t origin = INT64_MAX;
  uint64_t dropped = 0;
  for (const Json &rank : ranks) {
    for (const Json &call : rank["calls"])
      origin = std::min(origin, call[0].get<int64_t>());
    dropped += rank["dropped"].get<uint64_t>();
  }
  Json events = Json::array();
  for (const Json &rank : ranks) {
    // Longer bars first: viewers nest what begins at the same time in order.
    Writer writer(events, rank, origin);
    writer.writeName();
    writer.writeCalls(entry);
    writer.writeOps();
    writer.writePhases();
  }
  Json document = {{"traceEvents", std::move(events)},
                   {"displayTimeUnit", "ns"},
                   {"otherData", {{"entry", entry}, {"dropped", dropped}}}};
  return document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}
