//===- JobOptions.cpp - options on which all ranks agree ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "JobOptions.h"
#include "Message.h"

#include "moe-runtime/Status.h"

using namespace moe::rt;
using namespace moe::run;
using Json = nlohmann::json;

namespace {
/// An option of a description. Its value is as it is written, "" where it takes
/// none; an option that was not given is missing.
struct Known {
  const char *name;
  bool isCount; ///< how often it was given
};
} // namespace

/// In the order in which differences are told: --bench changes the number of
/// warm-up calls, too.
static constexpr Known knownOptions[] = {
    {"--bench", false}, {"--warmup", false}, {"--json", false},
    {"--trace", false}, {"--into", false},   {"--in", true}};

Json moe::run::describeOptions(const Options &options, const ArtifactFile &file,
                               int size) {
  Json json = {{"size", size}};
  // What is wrong with a file will be said where it is loaded.
  if (file.facts.isOk())
    json["target"] = options.target;
  if (options.bench)
    json["--bench"] = std::to_string(options.bench);
  json["--warmup"] = std::to_string(options.numWarmups());
  for (auto [name, isGiven] : {std::pair("--json", options.json),
                               std::pair("--trace", !options.trace.empty()),
                               std::pair("--into", options.into)})
    if (isGiven)
      json[name] = "";
  if (!options.inputs.empty())
    json["--in"] = std::to_string(options.inputs.size());
  return json;
}

/// "without", "with --json", "with --bench 5", "with --in 3 times".
static std::string given(const Message &description, const Known &option) {
  if (!description.has(option.name))
    return "without";
  std::string value = description.text(option.name);
  if (option.isCount)
    value += value == "1" ? " time" : " times";
  return std::string("with ") + option.name +
         (value.empty() ? "" : " " + value);
}

std::string moe::run::compareOptions(int a, const std::string &textOfA, int b,
                                     const std::string &textOfB) {
  // The same is said whichever process compares.
  if (a < b)
    return compareOptions(b, textOfB, a, textOfA);
  Message ofA(textOfA), ofB(textOfB);
  if (!ofA.has("size") || !ofB.has("size"))
    return "";
  if (int sizeOfA = ofA.integer("size", 0), sizeOfB = ofB.integer("size", 0);
      sizeOfA != sizeOfB)
    return format("rank %d was started in a job of %d processes, but rank %d "
                  "in one of %d; start all ranks by one command of the "
                  "launcher",
                  a, sizeOfA, b, sizeOfB);
  std::string targetOfA = ofA.text("target"), targetOfB = ofB.text("target");
  if (!targetOfA.empty() && !targetOfB.empty() && targetOfA != targetOfB)
    return format("rank %d has the target '%s', but rank %d '%s'; start all "
                  "ranks with the same --target, and with copies of one file",
                  a, targetOfA.c_str(), b, targetOfB.c_str());
  for (const Known &option : knownOptions) {
    if (ofA.has(option.name) == ofB.has(option.name) &&
        ofA.text(option.name) == ofB.text(option.name))
      continue;
    std::string ofFirst = given(ofA, option), ofSecond = given(ofB, option);
    // The name once is enough, and one of them has it.
    if (ofFirst == "without")
      ofFirst += std::string(" ") + option.name;
    if (ofSecond == std::string("with ") + option.name)
      ofSecond = "with";
    return format("rank %d was started %s, but rank %d %s; start all ranks "
                  "with the same options",
                  a, ofFirst.c_str(), b, ofSecond.c_str());
  }
  return "";
}
