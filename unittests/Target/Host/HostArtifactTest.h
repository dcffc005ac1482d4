//===- HostArtifactTest.h - calls of compiled artifacts ---------*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_UNITTESTS_TARGET_HOST_HOSTARTIFACTTEST_H
#define MOE_MLIR_UNITTESTS_TARGET_HOST_HOSTARTIFACTTEST_H

#include "FakeRuntime.h"
#include "moe-mlir/Target/Driver/Compiler.h"
#include "moe-runtime/ArtifactABI.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/JSON.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <sys/mman.h>
#include <unistd.h>

namespace mlir::moe {

/// A strided memref descriptor of up to four dimensions, as the ABI lays it
/// out.
struct Descriptor {
  Descriptor() = default;
  Descriptor(void *data, std::vector<int64_t> shape, int64_t offset = 0) {
    allocated = aligned = data;
    fields.push_back(offset);
    fields.insert(fields.end(), shape.begin(), shape.end());
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t dim = shape.size(); dim-- > 1;)
      strides[dim - 1] = strides[dim] * shape[dim];
    fields.insert(fields.end(), strides.begin(), strides.end());
    std::copy(fields.begin(), fields.end(), words);
  }

  void *allocated = nullptr, *aligned = nullptr;
  int64_t words[9] = {};
  std::vector<int64_t> fields;

  int64_t offset() const { return words[0]; }
  int64_t size(int dim) const { return words[1 + dim]; }
  template <typename T> T *data() {
    return static_cast<T *>(aligned) + offset();
  }
};

class HostArtifactTest : public ::testing::Test {
protected:
  HostArtifactTest() {
    DialectRegistry registry;
    registerCompilerDialects(registry);
    context.appendDialectRegistry(registry);
    context.disableMultithreading();
    context.printOpOnDiagnostic(false);
    workspace.resize(1 << 20);
    size_t space = workspace.size();
    void *base = workspace.data();
    runtime.workspace = std::align(256, 1 << 19, base, space);
    ::moe::test::runtime = &runtime;
  }

  ~HostArtifactTest() override {
    EXPECT_EQ(runtime.badFrees, 0);
    for (auto &[ptr, bytes] : runtime.live)
      free(ptr);
    if (library)
      dlclose(library);
  }

  /// Compiles `text`; collects diagnostics in `errors`.
  bool compile(StringRef text, CompileOptions options = {}) {
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diag) {
      errors.push_back(diag.str());
      return success();
    });
    OwningOpRef<ModuleOp> module =
        parseSourceString<ModuleOp>(text, &context, "test.mlir");
    artifact.clear();
    return module && succeeded(compileModule(*module, options, artifact));
  }

  void compileAndLoad(StringRef text, CompileOptions options = {}) {
    ASSERT_TRUE(compile(text, options)) << ::testing::PrintToString(errors);
    int file = memfd_create("artifact", 0);
    ASSERT_GE(file, 0);
    ASSERT_EQ(write(file, artifact.data(), artifact.size()),
              static_cast<ssize_t>(artifact.size()));
    std::string path = "/proc/self/fd/" + std::to_string(file);
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    const char *error = library ? "" : dlerror();
    close(file);
    ASSERT_TRUE(library) << error;
  }

  bool call(const char *name, std::vector<Descriptor *> args) {
    auto entry = reinterpret_cast<void (*)(void **)>(
        dlsym(library, symbolOf(name).c_str()));
    if (!entry) {
      ADD_FAILURE() << "no entry " << name;
      return false;
    }
    std::vector<void *> pointers;
    // Rank-0 descriptors are shorter, never longer, than what is passed.
    for (Descriptor *arg : args)
      pointers.push_back(arg);
    return runtime.call([&] { entry(pointers.data()); });
  }

  /// The symbol of an entry, as the manifest names it; empty without one.
  std::string symbolOf(StringRef name) {
    llvm::json::Object fields = manifest();
    if (llvm::json::Array *entries = fields.getArray("entries"))
      for (llvm::json::Value &entry : *entries)
        if (entry.getAsObject()->getString("name") == name)
          return entry.getAsObject()->getString("symbol").value_or("").str();
    return {};
  }

  llvm::json::Object manifest() {
    auto text =
        static_cast<const char *>(dlsym(library, "moe_artifact_manifest"));
    llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
    if (!value) {
      ADD_FAILURE() << llvm::toString(value.takeError());
      return {};
    }
    return *value->getAsObject();
  }

  /// Whether `result` is memory that the caller now owns.
  bool isOwned(const Descriptor &result) {
    return runtime.live.count(result.allocated) != 0;
  }

  MLIRContext context;
  ::moe::test::FakeRuntime runtime;
  std::vector<std::string> errors;
  SmallVector<char, 0> artifact;
  std::vector<char> workspace;
  void *library = nullptr;
};

} // namespace mlir::moe

#endif // MOE_MLIR_UNITTESTS_TARGET_HOST_HOSTARTIFACTTEST_H
