//===- Artifact.cpp - loading shared objects ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Context.h"

using namespace moe::rt;

Expected<std::unique_ptr<Artifact>>
Artifact::open(const std::string &path, const std::string &displayName) {
  auto bytes = readWholeFile(path);
  if (!bytes.isOk())
    return bytes.status().withPrefix(displayName);
  return openBytes(*bytes, displayName);
}

Expected<std::unique_ptr<Artifact>>
Artifact::openBytes(std::string_view bytes, const std::string &displayName) {
  std::unique_ptr<Artifact> artifact(new Artifact());
  artifact->displayName = displayName;
  auto object = SharedObject::load(
      bytes, displayName, [&](const SharedObject &loaded) -> Status {
        // The text need not end in a NUL.
        std::string_view text = loaded.contents("moe_artifact_manifest");
        if (text.empty())
          return Status(MOERT_INVALID_ARGUMENT,
                        "not an artifact: it has no symbol "
                        "moe_artifact_manifest, or one without a size");
        artifact->text = text.substr(0, text.find('\0'));
        auto manifest = Manifest::parse(artifact->text);
        if (manifest.isOk())
          artifact->contents = manifest.take();
        return manifest.status();
      });
  if (!object.isOk())
    return object.status().withPrefix(displayName);
  artifact->object = object.take();
  if (Status s = artifact->resolveEntries(); !s.isOk())
    return s.withPrefix(displayName);
  artifact->gpuImage = artifact->object->contents("moe_gpu_image");
  return artifact;
}

Artifact::~Artifact() = default;

Status Artifact::resolveEntries() {
  const Manifest &m = contents;
  entryList.resize(m.entries.size());
  for (size_t i = 0; i < m.entries.size(); ++i) {
    Entry &entry = entryList[i];
    entry.description = &m.entries[i];
    entry.artifact = this;
    entry.function = reinterpret_cast<EntryFunction>(
        object->find(m.entries[i].symbol.c_str()));
    if (!entry.function)
      return makeError(MOERT_INVALID_ARGUMENT,
                       "the manifest names entry '%s', but the symbol %s is "
                       "missing",
                       m.entries[i].name.c_str(), m.entries[i].symbol.c_str());
  }
  setIdentity(0, /*isAgain=*/false);
  return Status::ok();
}

void Artifact::setIdentity(uint64_t number, bool isAgain) {
  const Digest &digest = object->digest();
  identityValue = hashText(std::string(digest.begin(), digest.end()), number);
  labelText = "artifact " + displayName;
  if (isAgain)
    labelText += format(" (load %llu)", (unsigned long long)number);
  for (Entry &entry : entryList) {
    entry.callText =
        "call of entry '" + entry.description->name + "' of " + labelText;
    entry.callHash = hashText(entry.description->name, identityValue);
  }
}

Expected<Entry *> Artifact::entry(const std::string &name) {
  if (name.empty() && entryList.size() == 1)
    return &entryList[0];
  for (Entry &entry : entryList)
    if (entry.description->name == name)
      return &entry;
  std::string all = contents.listEntries();
  if (name.empty())
    return makeError(MOERT_INVALID_ARGUMENT,
                     "%s: which entry to run has to be named; there are %s",
                     displayName.c_str(), all.c_str());
  return makeError(MOERT_INVALID_ARGUMENT,
                   "%s: no entry is named '%s'; there are %s",
                   displayName.c_str(), name.c_str(), all.c_str());
}
