//===- ManifestTest.cpp - tests of the manifest reader --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Manifest.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace moe::rt;
using Json = nlohmann::json;

static const char *const good = R"({
  "abi_version": 5, "producer": "moe-mlir 0.1.0", "target": "host",
  "cpu": "x86-64-v3", "hash": "6f0e2b1c9d5a4c37", "ranks": 4,
  "symm_bytes": 29884416,
  "entries": [
    {"name": "layer", "symbol": "moe_entry_layer",
     "args": [{"dtype": "bf16", "shape": [-1, 7168]},
              {"dtype": "i32", "shape": [-1, 8]}],
     "results": [{"dtype": "bf16", "shape": []}]}],
  "sites": [{"op": "moe.dispatch", "location": "layer.mlir:12:8"}],
  "later": {"keys": "are ignored"}
})";

TEST(ManifestTest, ReadsTheDocumentedExample) {
  auto manifest = Manifest::parse(good);
  ASSERT_TRUE(manifest.isOk()) << manifest.status().message();
  EXPECT_EQ(manifest->target, "host");
  EXPECT_EQ(manifest->hash, "6f0e2b1c9d5a4c37");
  EXPECT_EQ(manifest->ranks, 4);
  EXPECT_EQ(manifest->symmBytes, 29884416);
  ASSERT_EQ(manifest->entries.size(), 1u);
  const Manifest::Entry &entry = manifest->entries[0];
  EXPECT_EQ(entry.symbol, "moe_entry_layer");
  ASSERT_EQ(entry.args.size(), 2u);
  EXPECT_EQ(entry.args[0].str(), "bf16[?, 7168]");
  EXPECT_EQ(entry.args[1].dtype, DType::I32);
  ASSERT_EQ(entry.results.size(), 1u);
  EXPECT_TRUE(entry.results[0].shape.empty());
  ASSERT_EQ(manifest->sites.size(), 1u);
  EXPECT_EQ(manifest->sites[0].location, "layer.mlir:12:8");
  EXPECT_EQ(manifest->listEntries(), "'layer'");
}

TEST(ManifestTest, ReadsWhatGpusNeed) {
  Json json = Json::parse(good);
  json["target"] = "cuda";
  json["gpu"] = {{"chip", "sm_90a"}, {"format", "ptx"}};
  json["device_strings"] = {"route", "expert id"};
  json["entries"][0]["args"][1]["symmetric"] = true;
  json["entries"][0]["results"][0]["symmetric"] = false;
  json["entries"][0]["results"][0]["host"] = true;
  auto manifest = Manifest::parse(json.dump());
  ASSERT_TRUE(manifest.isOk()) << manifest.status().message();
  EXPECT_EQ(manifest->backendName(), "cuda");
  EXPECT_EQ(manifest->gpuCapability, 90);
  EXPECT_EQ(manifest->deviceStrings,
            (std::vector<std::string>{"route", "expert id"}));
  EXPECT_FALSE(manifest->entries[0].args[0].isSymmetric);
  EXPECT_TRUE(manifest->entries[0].args[1].isSymmetric);
  EXPECT_FALSE(manifest->entries[0].results[0].isSymmetric);
  EXPECT_FALSE(manifest->entries[0].args[1].isHost);
  EXPECT_TRUE(manifest->entries[0].results[0].isHost);
}

TEST(ManifestTest, ReadsExtentsThatAreKnownBeforeACall) {
  Json json = Json::parse(good);
  Json &result = json["entries"][0]["results"][0];
  result["shape"] = {-1, 7168, -1, -1};
  result["extents"] = {{0, 0}, nullptr, 12, nullptr};
  auto manifest = Manifest::parse(json.dump());
  ASSERT_TRUE(manifest.isOk()) << manifest.status().message();
  const auto &extents = manifest->entries[0].resultExtents;
  ASSERT_EQ(extents.size(), 1u);
  ASSERT_EQ(extents[0].size(), 4u);
  EXPECT_EQ(extents[0][0].argument, 0);
  EXPECT_EQ(extents[0][0].dimension, 0);
  EXPECT_EQ(extents[0][1].argument, -1);
  EXPECT_EQ(extents[0][1].value, -1);
  EXPECT_EQ(extents[0][2].value, 12);
  const std::string wrong =
      "malformed manifest: entries[0].results[0].extents: expected ";
  for (const char *extent : {"[0]", "[2, 0]", "[0, 2]", "[-1, 0]", "[0, 0, 0]",
                             "\"T\"", "-1", "0.5", "{}", "[[0], 0]"}) {
    result["extents"][0] = Json::parse(extent);
    EXPECT_EQ(Manifest::parse(json.dump()).status().message(),
              wrong + "null, an extent of 0 or more, or [argument, dimension]")
        << extent;
  }
  for (const char *extents : {"[]", "[null]", "7", "{}"}) {
    result["extents"] = Json::parse(extents);
    EXPECT_EQ(Manifest::parse(json.dump()).status().message(),
              wrong + "an array with an item per dimension")
        << extents;
  }
}

/// Applies a change to the good manifest and expects the error.
static void expectError(const std::string &patch, const std::string &message,
                        moert_code code = MOERT_INVALID_ARGUMENT) {
  Json json = Json::parse(good).patch(Json::parse(patch));
  auto manifest = Manifest::parse(json.dump());
  ASSERT_FALSE(manifest.isOk()) << patch;
  EXPECT_EQ(manifest.status().code(), code) << patch;
  EXPECT_EQ(manifest.status().message(), message) << patch;
}

static std::string replace(const std::string &path, const std::string &value) {
  return R"([{"op": "replace", "path": ")" + path + R"(", "value": )" + value +
         "}]";
}

TEST(ManifestTest, OtherAbiVersions) {
  expectError(replace("/abi_version", "2"),
              "the artifact has ABI version 2, this runtime understands "
              "version 5",
              MOERT_ABI_MISMATCH);
  // Of another version nothing else is looked at.
  auto manifest = Manifest::parse(R"({"abi_version": 7, "ranks": "many"})");
  EXPECT_EQ(manifest.status().code(), MOERT_ABI_MISMATCH);
}

TEST(ManifestTest, NotAManifest) {
  for (const char *text :
       {"", "{", "{\"abi_version\": 1", "null, null", "\x93\xff\x00"}) {
    auto manifest = Manifest::parse(text);
    ASSERT_FALSE(manifest.isOk());
    EXPECT_EQ(manifest.status().message(),
              "malformed manifest: not a JSON text");
  }
  for (const char *text : {"[]", "1", "null", "\"text\""})
    EXPECT_EQ(Manifest::parse(text).status().message(),
              "malformed manifest: top level: expected an object");
}

TEST(ManifestTest, MissingKeys) {
  for (const char *key : {"abi_version", "producer", "target", "cpu", "hash",
                          "ranks", "symm_bytes", "entries", "sites"}) {
    Json json = Json::parse(good);
    json.erase(key);
    auto manifest = Manifest::parse(json.dump());
    ASSERT_FALSE(manifest.isOk()) << key;
    EXPECT_EQ(manifest.status().message().rfind(
                  std::string("malformed manifest: ") + key + ": expected", 0),
              0u)
        << manifest.status().message();
  }
}

TEST(ManifestTest, WrongValues) {
  const std::string m = "malformed manifest: ";
  expectError(replace("/ranks", "-1"), m + "ranks: out of range");
  expectError(replace("/ranks", "1000000000000"), m + "ranks: out of range");
  expectError(replace("/ranks", "18446744073709551615"),
              m + "ranks: out of range");
  expectError(replace("/ranks", "2.5"), m + "ranks: expected an integer");
  expectError(replace("/ranks", "true"), m + "ranks: expected an integer");
  expectError(replace("/ranks", "0"),
              m + "symm_bytes: not 0 although 'ranks' is 0");
  expectError(replace("/symm_bytes", "-5"), m + "symm_bytes: out of range");
  expectError(replace("/symm_bytes", "9223372036854775807"),
              m + "symm_bytes: out of range");
  expectError(replace("/hash", "\"\""), m + "hash: expected a non-empty name");
  expectError(replace("/target", "7"), m + "target: expected a string");
  expectError(replace("/entries", "{}"), m + "entries: expected an array");
  expectError(replace("/entries/0", "1"),
              m + "entries[0].: expected an object");
  expectError(replace("/entries/0/symbol", "\"a\\u0000b\""),
              m + "entries[0].symbol: expected a non-empty name");
  expectError(replace("/entries/0/args/1", "[]"),
              m + "entries[0].args[1].: expected an object");
  expectError(replace("/entries/0/args/1/dtype", "\"f31\""),
              m + "entries[0].args[1].dtype: unknown type 'f31'");
  expectError(replace("/entries/0/args/0/shape", "[-2]"),
              m + "entries[0].args[0].shape: expected extents of -1 or more");
  expectError(replace("/entries/0/args/0/shape", "[1.5]"),
              m + "entries[0].args[0].shape: expected extents of -1 or more");
  expectError(replace("/entries/0/args/0/shape", "3"),
              m + "entries[0].args[0].shape: expected an array of at most 64");
  expectError(R"([{"op": "copy", "from": "/entries/0", "path": "/entries/1"}])",
              m + "entries[1].name: appears twice");
  expectError(replace("/sites/0", "[]"), m + "sites[0].: expected an object");
  expectError(replace("/sites/0/op", "[]"),
              m + "sites[0].op: expected a string");
}

TEST(ManifestTest, EveryTruncationIsAnError) {
  std::string text = good;
  text.erase(text.find_last_of('}') + 1);
  for (size_t length = 0; length < text.size(); ++length)
    EXPECT_FALSE(Manifest::parse(text.substr(0, length)).isOk()) << length;
  EXPECT_TRUE(Manifest::parse(text).isOk());
}

TEST(ManifestTest, CpuLevels) {
  EXPECT_TRUE(checkCpuLevel("x86-64").isOk());
  EXPECT_EQ(checkCpuLevel("x86-64-v9").message(),
            "unknown CPU level 'x86-64-v9'");
  // A machine that has a level has those below it.
  const char *levels[] = {"x86-64-v4", "x86-64-v3", "x86-64-v2", "x86-64"};
  bool hasHigher = false;
  for (const char *level : levels) {
    Status status = checkCpuLevel(level);
    EXPECT_TRUE(status.isOk() || !hasHigher) << level;
    EXPECT_TRUE(status.isOk() || status.code() == MOERT_ABI_MISMATCH);
    hasHigher |= status.isOk();
  }
}

TEST(ManifestTest, TransportIsDirectUnlessItSaysMessages) {
  EXPECT_FALSE(Manifest::parse(good)->usesMessages());
  Json json = Json::parse(good);
  json["transport"] = "direct";
  EXPECT_FALSE(Manifest::parse(json.dump())->usesMessages());
  json["transport"] = "messages";
  json["symm_bytes"] = 0;
  auto manifest = Manifest::parse(json.dump());
  ASSERT_TRUE(manifest.isOk()) << manifest.status().message();
  EXPECT_TRUE(manifest->usesMessages());
  // Who sends nothing needs no transport.
  json["ranks"] = 0;
  EXPECT_FALSE(Manifest::parse(json.dump())->usesMessages());
}

TEST(ManifestTest, MessagesNeedNoSymmetricMemory) {
  const std::string m = "malformed manifest: ";
  const std::string messages =
      R"([{"op": "add", "path": "/transport", "value": "messages"})";
  expectError(messages + "]",
              m + "symm_bytes: not 0 although 'transport' is 'messages'");
  expectError(
      messages + R"(, {"op": "replace", "path": "/symm_bytes", "value": 0},
                      {"op": "add", "path": "/entries/0/args/1/symmetric",
                       "value": true}])",
      m + "entries: a symmetric tensor although 'transport' is 'messages'");
  for (const char *value : {"\"mpi\"", "1", "null", "[]"})
    expectError(
        std::string(R"([{"op": "add", "path": "/transport", "value": )") +
            value + "}]",
        m + "transport: expected \"direct\" or \"messages\"");
}

TEST(DTypeTest, NamesRoundTrip) {
  for (const char *name : {"f64", "f32", "f16", "bf16", "f8E4M3FN", "f8E5M2",
                           "i64", "i32", "i16", "i8", "i1"}) {
    auto dtype = parseDType(name);
    ASSERT_TRUE(dtype.has_value()) << name;
    EXPECT_STREQ(dtypeName(*dtype), name);
    EXPECT_TRUE(acceptsDLDataType(*dtype, toDLDataType(*dtype)));
    EXPECT_EQ(describeDLDataType(toDLDataType(*dtype)), name);
  }
  EXPECT_FALSE(parseDType("F32").has_value());
}

TEST(DTypeTest, OtherTypesAreNotAccepted) {
  EXPECT_FALSE(acceptsDLDataType(DType::BF16, {kDLFloat, 16, 1}));
  EXPECT_FALSE(acceptsDLDataType(DType::F32, {kDLFloat, 32, 2}));
  EXPECT_FALSE(acceptsDLDataType(DType::I8, {kDLUInt, 8, 1}));
  EXPECT_TRUE(acceptsDLDataType(DType::I1, {kDLUInt, 8, 1}));
  EXPECT_TRUE(acceptsDLDataType(DType::F8E5M2, {kDLUInt, 8, 1}));
}

TEST(DTypeTest, ShapeChecksNameTheDimension) {
  TensorType type{DType::F32, {-1, 4}};
  int64_t good2[] = {0, 4}, bad[] = {3, 5}, negative[] = {-3, 4};
  EXPECT_EQ(checkShape(type, good2, 2), "");
  EXPECT_EQ(checkShape(type, bad, 2),
            "expected extent 4 in dimension 1 of f32[?, 4], got [3, 5]");
  EXPECT_EQ(checkShape(type, bad, 1),
            "expected rank 2 f32[?, 4], got rank 1 [3]");
  EXPECT_EQ(checkShape(type, negative, 2), "extent 0 is negative: -3");
}

TEST(DTypeTest, ElementCountsDoNotOverflow) {
  int64_t large[] = {int64_t(1) << 40, int64_t(1) << 40}, some[] = {3, 4};
  EXPECT_FALSE(countElements(large, 2).has_value());
  EXPECT_EQ(countElements(some, 2), 12);
  EXPECT_EQ(countElements(nullptr, 0), 1);
}

TEST(ManifestTest, MalformedFieldsForGpus) {
  for (auto [key, value, message] :
       {std::tuple{"gpu", "1", "gpu: expected an object"},
        std::tuple{"gpu", "{}", "gpu.chip: expected a string"},
        std::tuple{"gpu", R"({"chip": "gfx90"})",
                   "gpu.chip: expected a name like sm_90"},
        std::tuple{"device_strings", "{}", "device_strings: expected an array"},
        std::tuple{"device_strings", "[1]",
                   "device_strings: expected strings"}}) {
    Json json = Json::parse(good);
    json[key] = Json::parse(value);
    auto manifest = Manifest::parse(json.dump());
    ASSERT_FALSE(manifest.isOk()) << value;
    EXPECT_EQ(manifest.status().message(),
              std::string("malformed manifest: ") + message);
  }
  Json json = Json::parse(good);
  json["entries"][0]["args"][0]["symmetric"] = 1;
  EXPECT_EQ(Manifest::parse(json.dump()).status().message(),
            "malformed manifest: entries[0].args[0].symmetric: expected true "
            "or false");
}

TEST(ManifestTest, TensorsOfTheHostInArtifactsForGpusAlone) {
  const std::string m = "malformed manifest: ";
  const std::string host =
      R"([{"op": "add", "path": "/entries/0/results/0/host", "value": )";
  expectError(host + "true}]",
              m + "entries: a tensor with 'host' although 'target' is not "
                  "'cuda'");
  expectError(host + "1}]",
              m + "entries[0].results[0].host: expected true or false");
  const std::string cuda =
      R"(, {"op": "replace", "path": "/target", "value": "cuda"})";
  expectError(host + "true}" + cuda +
                  R"(, {"op": "add", "path": "/entries/0/results/0/symmetric",
                        "value": true}])",
              m + "entries[0].results[0].host: true although 'symmetric' is, "
                  "too");
  for (const std::string &patch :
       {host + "false}]", host + "true}" + cuda + "]"}) {
    Json json = Json::parse(good).patch(Json::parse(patch));
    EXPECT_TRUE(Manifest::parse(json.dump()).isOk()) << patch;
  }
}

TEST(ManifestTest, FirstDifferenceOfTwoManifests) {
  auto differ = [](const char *mine, const char *theirs) {
    return describeDifference(mine, theirs);
  };
  EXPECT_EQ(
      differ(R"({"ranks": 4, "hash": "a"})", R"({"ranks": 4, "hash": "a"})"),
      "");
  EXPECT_EQ(
      differ(R"({"ranks": 4, "hash": "a"})", R"({"ranks": 8, "hash": "b"})"),
      "ranks (4 and 8)");
  // The hash says least.
  EXPECT_EQ(
      differ(R"({"hash": "a", "other": 1})", R"({"hash": "b", "other": 2})"),
      "other (1 and 2)");
  EXPECT_EQ(differ(R"({"hash": "a"})", R"({"hash": "b"})"),
            "hash ('a' and 'b')");
  EXPECT_EQ(
      differ(R"({"entries": [{"name": "f", "args": [{"shape": [4, -1]}]}]})",
             R"({"entries": [{"name": "f", "args": [{"shape": [8, -1]}]}]})"),
      "entries[0] ('f').args[0].shape ([4,-1] and [8,-1])");
  EXPECT_EQ(differ(R"({"entries": [{"name": "f"}]})",
                   R"({"entries": [{"name": "f"}, {"name": "g"}]})"),
            "the number of entries (1 and 2)");
  EXPECT_EQ(differ(R"({"cpu": "x"})", R"({})"), "cpu (x and nothing)");
  EXPECT_EQ(differ(R"({"hash": "a", "entries": [{"name": "f", "args":
                  [{"dtype": "i32", "shape": [4], "host": true}]}]})",
                   R"({"hash": "b", "entries": [{"name": "f", "args":
                  [{"dtype": "i32", "shape": [4]}]}]})"),
            "entries[0] ('f').args[0].host (true and nothing)");
  EXPECT_EQ(differ("no manifest", "{}"), "their manifests");
}

TEST(ManifestTest, DifferenceOfLongTextsIsCutOut) {
  std::string head = "alignment = 1 : i64, capacity = 1024 : i64, grid = @ep, ";
  std::string tail = ", order = token, overflow = error, and some more of them "
                     "that make the text so long that it has to be cut";
  auto manifest = [&](const char *experts) {
    return "{\"sites\": [{\"op\": \"moe.dispatch\", \"attributes\": \"" + head +
           "num_experts = " + experts + tail + "\"}]}";
  };
  EXPECT_EQ(describeDifference(manifest("4"), manifest("16")),
            "sites[0] ('moe.dispatch').attributes ('...num_experts = 4, order "
            "= token, overflow = error, and some more of them that mak...' "
            "and '...num_experts = 16, order = token, overflow = error, and "
            "some more of them that ma...')");
}
