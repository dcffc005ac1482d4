//===- Artifact.cpp - artifacts that a group has loaded -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

namespace nb = nanobind;
using namespace moe::py;

static std::shared_ptr<Artifact> loadPath(const ContextRef &context,
                                          const std::string &path) {
  auto artifact = std::make_shared<Artifact>();
  context->run("load", [&](moert_context *handle) {
    return moert_artifact_load(handle, path.c_str(), &artifact->handle);
  });
  artifact->context = context;
  artifact->name = path;
  return artifact;
}

static std::shared_ptr<Artifact>
loadBytes(const ContextRef &context, nb::bytes bytes, const std::string &name) {
  auto artifact = std::make_shared<Artifact>();
  context->run("load", [&](moert_context *handle) {
    return moert_artifact_load_bytes(handle, bytes.c_str(), bytes.size(),
                                     name.c_str(), &artifact->handle);
  });
  artifact->context = context;
  artifact->name = name.empty() ? "in memory" : name;
  return artifact;
}

static void unload(Artifact &self) {
  if (self.isUnloaded)
    return;
  self.context->run("unload", [&](moert_context *) {
    // The handle is gone after an error, too.
    self.isUnloaded = true;
    return moert_artifact_unload(self.handle);
  });
}

moert_artifact *moe::py::usableHandle(const Artifact &self) {
  (void)self.context->open("artifact");
  if (self.isUnloaded)
    refuse("artifact " + self.name + " has been unloaded");
  return self.handle;
}

static nb::list entriesOf(const std::shared_ptr<Artifact> &self) {
  moert_artifact *handle = usableHandle(*self);
  nb::list entries;
  for (size_t i = 0; i < moert_artifact_num_entries(handle); ++i)
    entries.append(nb::cast(
        std::make_shared<Entry>(self, moert_artifact_entry_at(handle, i))));
  return entries;
}

void moe::py::bindArtifact(nb::module_ &module) {
  nb::class_<Artifact>(module, "Artifact", "A loaded artifact.")
      .def_ro("name", &Artifact::name)
      .def_ro("is_unloaded", &Artifact::isUnloaded)
      .def_prop_ro("manifest",
                   [](const Artifact &self) {
                     return nb::str(
                         moert_artifact_manifest(usableHandle(self)));
                   })
      .def("entries", entriesOf, nb::sig("def entries(self) -> list[Entry]"))
      .def("unload", unload);
  module.def("load_path", loadPath, nb::arg("context"), nb::arg("path"));
  module.def("load_bytes", loadBytes, nb::arg("context"), nb::arg("data"),
             nb::arg("name"));
}
