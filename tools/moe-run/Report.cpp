//===- Report.cpp - what moe-run prints about a run -----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Report.h"

#include "moe-runtime/Backend.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sched.h>

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::ordered_json;

static int64_t medianOf(std::vector<int64_t> values) {
  if (values.empty())
    return 0;
  size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + middle, values.end());
  return values[middle];
}

std::string moe::run::toJson(const RankReport &report) {
  const std::vector<int64_t> &calls = report.callNs;
  Json json;
  json["rank"] = report.rank;
  if (!report.device.empty())
    json["device"] = report.device;
  json["calls"] = {
      {"count", calls.size()},
      {"min_ns",
       calls.empty() ? 0 : *std::min_element(calls.begin(), calls.end())},
      {"median_ns", medianOf(calls)},
      {"max_ns",
       calls.empty() ? 0 : *std::max_element(calls.begin(), calls.end())},
      {"all_ns", calls}};
  int64_t computeNs = 0;
  json["timings"] = Json::array();
  for (const Timings::Row &row : report.timings) {
    if (row.op.empty()) {
      computeNs += row.ns;
      continue;
    }
    json["timings"].push_back({{"op", row.op},
                               {"location", row.location},
                               {"phase", row.phase},
                               {"calls", row.calls},
                               {"ns", row.ns}});
  }
  json["compute_ns"] = computeNs;
  json["outputs"] = Json::array();
  for (const OutputFact &output : report.outputs)
    json["outputs"].push_back(
        {{"dtype", dtypeName(output.dtype)},
         {"shape", output.shape},
         {"path", output.path.empty() ? Json() : Json(output.path)}});
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Seconds in a unit a person likes.
static std::string duration(int64_t ns) {
  if (ns < 10000)
    return format("%lld ns", (long long)ns);
  if (ns < 10000000)
    return format("%.1f us", ns / 1e3);
  return format("%.2f ms", ns / 1e6);
}

static std::string makeTable(const Json &document) {
  std::string text =
      format("%-6s %12s %12s %12s\n", "rank", "min", "median", "max");
  for (const Json &rank : document["per_rank"]) {
    const Json &calls = rank["calls"];
    text += format("%-6d %12s %12s %12s\n", rank["rank"].get<int>(),
                   duration(calls["min_ns"]).c_str(),
                   duration(calls["median_ns"]).c_str(),
                   duration(calls["max_ns"]).c_str());
  }
  text += format("slowest rank's median: %s\n",
                 duration(document["slowest_median_ns"]).c_str());
  return text;
}

std::string moe::run::makeReport(const Options &options,
                                 const Manifest &manifest,
                                 const std::string &file,
                                 const std::string &entry,
                                 const std::vector<std::string> &reports) {
  Json document;
  document["artifact"] = {{"file", file},
                          {"hash", manifest.hash},
                          {"producer", manifest.producer},
                          {"target", manifest.target},
                          {"cpu", manifest.cpu},
                          {"ranks", manifest.ranks},
                          {"symm_bytes", manifest.symmBytes}};
  document["entry"] = entry;
  document["backend"] = backendOf(options.target);
  document["ranks"] = reports.size();
  document["warmup"] = options.numWarmups();
  document["bench"] = options.bench;
  int64_t slowest = 0;
  Json perRank = Json::array();
  for (const std::string &report : reports) {
    Json parsed = Json::parse(report, nullptr, /*allow_exceptions=*/false);
    if (parsed.is_discarded())
      continue;
    slowest = std::max(slowest, parsed["calls"]["median_ns"].get<int64_t>());
    perRank.push_back(std::move(parsed));
  }
  document["slowest_median_ns"] = slowest;
  document["per_rank"] = std::move(perRank);
  return options.json
             ? document.dump(2, ' ', false, Json::error_handler_t::replace) +
                   "\n"
             : makeTable(document);
}

std::string moe::run::probe() {
  cpu_set_t processors;
  int cpus = 1;
  if (sched_getaffinity(0, sizeof(processors), &processors) == 0)
    cpus = CPU_COUNT(&processors);
  Json document = {{"cpus", cpus}, {"gpus", 0}};
  auto devices = listCudaDevices();
  if (devices.isOk()) {
    document["gpus"] = devices->size();
    document["gpu_names"] = *devices;
  } else {
    document["no_gpus_because"] = devices.status().message();
  }
  return document.dump();
}
