//===- Manifest.cpp - what an artifact says about itself ------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Manifest.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

using namespace moe::rt;
using Json = nlohmann::json;

static constexpr size_t maxTensorRank = 64;

static Status malformed(const std::string &where, const char *what) {
  return makeError(MOERT_INVALID_ARGUMENT, "malformed manifest: %s: %s",
                   where.c_str(), what);
}

static Status readString(const Json &object, const char *key,
                         const std::string &where, std::string &out) {
  auto it = object.find(key);
  if (it == object.end() || !it->is_string())
    return malformed(where + key, "expected a string");
  out = it->get_ref<const std::string &>();
  return Status::ok();
}

static Status readName(const Json &object, const char *key,
                       const std::string &where, std::string &out) {
  if (Status status = readString(object, key, where, out); !status.isOk())
    return status;
  // Names become C strings and symbols.
  if (out.empty() || out.find('\0') != std::string::npos)
    return malformed(where + key, "expected a non-empty name");
  return Status::ok();
}

static Status readInt(const Json &object, const char *key, int64_t low,
                      int64_t high, int64_t &out) {
  auto it = object.find(key);
  if (it == object.end() || !it->is_number_integer())
    return malformed(key, "expected an integer");
  bool tooBig = it->is_number_unsigned() &&
                it->get<uint64_t>() > static_cast<uint64_t>(high);
  if (tooBig || it->get<int64_t>() < low || it->get<int64_t>() > high)
    return malformed(key, "out of range");
  out = it->get<int64_t>();
  return Status::ok();
}

/// A flag of a tensor, which is false where it does not stand.
static Status readFlag(const Json &tensor, const char *key,
                       const std::string &where, bool &out) {
  auto flag = tensor.find(key);
  if (flag == tensor.end())
    return Status::ok();
  if (!flag->is_boolean())
    return malformed(where + key, "expected true or false");
  out = flag->get<bool>();
  return Status::ok();
}

static Status readTensors(const Json &object, const char *key,
                          const std::string &where,
                          std::vector<TensorType> &out) {
  auto it = object.find(key);
  if (it == object.end() || !it->is_array())
    return malformed(where + key, "expected an array");
  for (size_t i = 0; i < it->size(); ++i) {
    const Json &tensor = (*it)[i];
    std::string here = format("%s%s[%zu].", where.c_str(), key, i);
    if (!tensor.is_object())
      return malformed(here, "expected an object");
    std::string dtype;
    if (Status status = readString(tensor, "dtype", here, dtype);
        !status.isOk())
      return status;
    std::optional<DType> parsed = parseDType(dtype);
    if (!parsed)
      return malformed(here + "dtype",
                       ("unknown type '" + dtype + "'").c_str());
    auto shape = tensor.find("shape");
    if (shape == tensor.end() || !shape->is_array() ||
        shape->size() > maxTensorRank)
      return malformed(here + "shape", "expected an array of at most 64");
    TensorType type;
    type.dtype = *parsed;
    for (const Json &extent : *shape) {
      if (!extent.is_number_integer() || extent.get<int64_t>() < -1)
        return malformed(here + "shape", "expected extents of -1 or more");
      type.shape.push_back(extent.get<int64_t>());
    }
    if (Status s = readFlag(tensor, "symmetric", here, type.isSymmetric);
        !s.isOk())
      return s;
    if (Status s = readFlag(tensor, "host", here, type.isHost); !s.isOk())
      return s;
    if (type.isHost && type.isSymmetric)
      return malformed(here + "host", "true although 'symmetric' is, too");
    out.push_back(std::move(type));
  }
  return Status::ok();
}

/// One of "extents": null, a number, or [argument, dimension].
static bool readExtent(const Json &json, const std::vector<TensorType> &args,
                       Manifest::Extent &out) {
  if (json.is_null())
    return true;
  if (json.is_number_integer()) {
    out.value = json.get<int64_t>();
    return out.value >= 0;
  }
  if (!json.is_array() || json.size() != 2 || !json[0].is_number_unsigned() ||
      !json[1].is_number_unsigned())
    return false;
  auto argument = json[0].get<uint64_t>(), dimension = json[1].get<uint64_t>();
  if (argument >= args.size() || dimension >= args[argument].shape.size())
    return false;
  out.argument = static_cast<int>(argument);
  out.dimension = static_cast<int>(dimension);
  return true;
}

/// The "extents" of results, which `entry` has already.
static Status readExtents(const Json &object, const std::string &where,
                          Manifest::Entry &entry) {
  const Json &results = object["results"];
  entry.resultExtents.resize(results.size());
  for (size_t i = 0; i < results.size(); ++i) {
    auto extents = results[i].find("extents");
    if (extents == results[i].end())
      continue;
    std::string here = format("%sresults[%zu].extents", where.c_str(), i);
    if (!extents->is_array() ||
        extents->size() != entry.results[i].shape.size())
      return malformed(here, "expected an array with an item per dimension");
    for (const Json &extent : *extents) {
      Manifest::Extent known;
      if (!readExtent(extent, entry.args, known))
        return malformed(here, "expected null, an extent of 0 or more, or "
                               "[argument, dimension]");
      entry.resultExtents[i].push_back(known);
    }
  }
  return Status::ok();
}

static Status readEntries(const Json &root,
                          std::vector<Manifest::Entry> &entries) {
  auto it = root.find("entries");
  if (it == root.end() || !it->is_array())
    return malformed("entries", "expected an array");
  std::set<std::string> names;
  for (size_t i = 0; i < it->size(); ++i) {
    const Json &object = (*it)[i];
    std::string here = format("entries[%zu].", i);
    if (!object.is_object())
      return malformed(here, "expected an object");
    Manifest::Entry entry;
    if (Status s = readName(object, "name", here, entry.name); !s.isOk())
      return s;
    if (Status s = readName(object, "symbol", here, entry.symbol); !s.isOk())
      return s;
    if (Status s = readTensors(object, "args", here, entry.args); !s.isOk())
      return s;
    if (Status s = readTensors(object, "results", here, entry.results);
        !s.isOk())
      return s;
    if (Status s = readExtents(object, here, entry); !s.isOk())
      return s;
    if (!names.insert(entry.name).second)
      return malformed(here + "name", "appears twice");
    entries.push_back(std::move(entry));
  }
  return Status::ok();
}

static Status readSites(const Json &root, std::vector<Manifest::Site> &sites) {
  auto it = root.find("sites");
  if (it == root.end() || !it->is_array())
    return malformed("sites", "expected an array");
  for (size_t i = 0; i < it->size(); ++i) {
    const Json &object = (*it)[i];
    std::string here = format("sites[%zu].", i);
    if (!object.is_object())
      return malformed(here, "expected an object");
    Manifest::Site site;
    if (Status s = readString(object, "op", here, site.op); !s.isOk())
      return s;
    if (Status s = readString(object, "location", here, site.location);
        !s.isOk())
      return s;
    sites.push_back(std::move(site));
  }
  return Status::ok();
}

/// What only artifacts for GPUs have.
static Status readGpu(const Json &root, Manifest &manifest) {
  if (auto gpu = root.find("gpu"); gpu != root.end()) {
    std::string chip;
    if (!gpu->is_object())
      return malformed("gpu", "expected an object");
    if (Status s = readString(*gpu, "chip", "gpu.", chip); !s.isOk())
      return s;
    // "sm_90" or "sm_90a".
    int capability = chip.rfind("sm_", 0) == 0 ? std::atoi(&chip[3]) : 0;
    if (capability <= 0)
      return malformed("gpu.chip", "expected a name like sm_90");
    manifest.gpuCapability = capability;
  }
  auto strings = root.find("device_strings");
  if (strings == root.end())
    return Status::ok();
  if (!strings->is_array())
    return malformed("device_strings", "expected an array");
  for (const Json &text : *strings) {
    if (!text.is_string())
      return malformed("device_strings", "expected strings");
    manifest.deviceStrings.push_back(text.get<std::string>());
  }
  return Status::ok();
}

/// Whether a tensor of an entry has the flag.
static bool hasTensor(const Manifest &manifest, bool TensorType::*flag) {
  for (const Manifest::Entry &entry : manifest.entries)
    for (const auto *types : {&entry.args, &entry.results})
      for (const TensorType &type : *types)
        if (type.*flag)
          return true;
  return false;
}

/// Manifests without a transport are direct.
static Status readTransport(const Json &root, Manifest &manifest) {
  auto transport = root.find("transport");
  if (transport == root.end() || *transport == "direct")
    return Status::ok();
  if (*transport != "messages")
    return malformed("transport", "expected \"direct\" or \"messages\"");
  manifest.transport = Manifest::Transport::Messages;
  if (manifest.symmBytes > 0)
    return malformed("symm_bytes", "not 0 although 'transport' is 'messages'");
  if (hasTensor(manifest, &TensorType::isSymmetric))
    return malformed("entries", "a symmetric tensor although 'transport' is "
                                "'messages'");
  return Status::ok();
}

static Status read(const Json &root, Manifest &manifest) {
  int64_t version = 0;
  if (Status s = readInt(root, "abi_version", 0, INT32_MAX, version); !s.isOk())
    return s;
  if (version != MOERT_ARTIFACT_ABI_VERSION)
    return makeError(MOERT_ABI_MISMATCH,
                     "the artifact has ABI version %lld, this runtime "
                     "understands version %d",
                     (long long)version, MOERT_ARTIFACT_ABI_VERSION);
  if (Status s = readString(root, "producer", "", manifest.producer); !s.isOk())
    return s;
  if (Status s = readName(root, "target", "", manifest.target); !s.isOk())
    return s;
  if (Status s = readString(root, "cpu", "", manifest.cpu); !s.isOk())
    return s;
  if (Status s = readName(root, "hash", "", manifest.hash); !s.isOk())
    return s;
  if (Status s = readInt(root, "ranks", 0, MOERT_MAX_RANKS, manifest.ranks);
      !s.isOk())
    return s;
  if (Status s =
          readInt(root, "symm_bytes", 0, int64_t(1) << 46, manifest.symmBytes);
      !s.isOk())
    return s;
  if (manifest.ranks == 0 && manifest.symmBytes > 0)
    return malformed("symm_bytes", "not 0 although 'ranks' is 0");
  if (Status s = readEntries(root, manifest.entries); !s.isOk())
    return s;
  if (manifest.backendName() != "cuda" &&
      hasTensor(manifest, &TensorType::isHost))
    return malformed("entries", "a tensor with 'host' although 'target' is not "
                                "'cuda'");
  if (Status s = readTransport(root, manifest); !s.isOk())
    return s;
  if (Status s = readGpu(root, manifest); !s.isOk())
    return s;
  return readSites(root, manifest.sites);
}

Expected<Manifest> Manifest::parse(std::string_view text) {
  Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded())
    return makeError(MOERT_INVALID_ARGUMENT,
                     "malformed manifest: not a JSON text");
  if (!root.is_object())
    return malformed("top level", "expected an object");
  Manifest manifest;
  if (Status status = read(root, manifest); !status.isOk())
    return status;
  return manifest;
}

std::string Manifest::backendName() const {
  for (const char *name : {"host", "cuda"})
    if (target == name || target.rfind(std::string(name) + ":", 0) == 0)
      return name;
  return target;
}

std::string Manifest::listEntries() const {
  std::string text;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i)
      text += i + 1 == entries.size() ? " and " : ", ";
    text += "'" + entries[i].name + "'";
  }
  return text.empty() ? "none" : text;
}

Status moe::rt::checkCpuLevel(const std::string &cpu) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool isKnown = true;
  bool isSupported = false;
  if (cpu == "x86-64")
    isSupported = true;
  else if (cpu == "x86-64-v2")
    isSupported = __builtin_cpu_supports("x86-64-v2");
  else if (cpu == "x86-64-v3")
    isSupported = __builtin_cpu_supports("x86-64-v3");
  else if (cpu == "x86-64-v4")
    isSupported = __builtin_cpu_supports("x86-64-v4");
  else
    isKnown = false;
#else
  bool isKnown = cpu.rfind("x86-64", 0) == 0;
  bool isSupported = false;
#endif
  if (!isKnown)
    return makeError(MOERT_ABI_MISMATCH, "unknown CPU level '%s'", cpu.c_str());
  if (!isSupported)
    return makeError(MOERT_ABI_MISMATCH,
                     "the artifact needs a CPU of level %s, which this "
                     "machine does not have",
                     cpu.c_str());
  return Status::ok();
}
