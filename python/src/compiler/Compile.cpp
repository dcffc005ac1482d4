//===- Compile.cpp - From modules to artifacts ----------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include "moe-mlir-c/Tools.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

using namespace moe::python;
using namespace nb::literals;

using Options = std::vector<std::pair<std::string, std::string>>;

static std::vector<MoeCompileOption> toC(const Options &options) {
  std::vector<MoeCompileOption> texts;
  for (const auto &[name, value] : options)
    texts.push_back({toRef(name), toRef(value)});
  return texts;
}

namespace {
/// A result of the C interface.
struct Result {
  explicit Result(MoeCompileResult handle) : handle(handle) {}
  ~Result() { moeCompileResultDestroy(handle); }
  Result(const Result &) = delete;

  std::vector<Diagnostic> getDiagnostics() const {
    std::vector<Diagnostic> diagnostics;
    intptr_t size = moeCompileResultGetNumDiagnostics(handle);
    for (intptr_t i = 0; i < size; ++i)
      diagnostics.push_back(
          makeDiagnostic(moeCompileResultGetDiagnostic(handle, i)));
    return diagnostics;
  }
  std::vector<Diagnostic> getRemarks() const {
    std::vector<Diagnostic> remarks;
    intptr_t size = moeCompileResultGetNumRemarks(handle);
    for (intptr_t i = 0; i < size; ++i)
      remarks.push_back(makeDiagnostic(moeCompileResultGetRemark(handle, i)));
    return remarks;
  }

  MoeCompileResult handle;
};
} // namespace

static nb::bytes toBytes(MlirStringRef text) {
  return nb::bytes(text.data, text.length);
}

static std::string describeOptions(const Options &options) {
  std::vector<MoeCompileOption> texts = toC(options);
  Result result(moeCompileDescribeOptions(texts.size(), texts.data()));
  if (!moeCompileResultIsSuccess(result.handle))
    throw CompileFailure(result.getDiagnostics(), CompileFailure::Option);
  return toString(moeCompileResultGetOutput(result.handle));
}

static nb::tuple compile(const nb::bytes &source, const std::string &filename,
                         const Options &options) {
  std::vector<MoeCompileOption> texts = toC(options);
  MlirStringRef bytes = {source.c_str(), source.size()};
  MoeCompileResult handle;
  {
    // The arguments keep what is read alive.
    moe::py::WithoutGil released;
    handle = moeCompile(bytes, toRef(filename), texts.size(), texts.data());
  }
  Result result(handle);
  if (!moeCompileResultIsSuccess(handle))
    throw CompileFailure(result.getDiagnostics(),
                         moeCompileResultIsCrash(handle)
                             ? CompileFailure::Crash
                             : CompileFailure::Module);
  return nb::make_tuple(toBytes(moeCompileResultGetOutput(handle)),
                        toBytes(moeCompileResultGetPTX(handle)),
                        toBytes(moeCompileResultGetReport(handle)),
                        toPython(result.getRemarks()),
                        toPython(result.getDiagnostics()));
}

template <int (*main)(int, char **)>
static int runTool(std::vector<std::string> arguments) {
  std::vector<char *> argv;
  for (std::string &argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  moe::py::WithoutGil released;
  return main(static_cast<int>(arguments.size()), argv.data());
}

void moe::python::bindCompile(nb::module_ &module) {
  module.def(
      "version", [] { return toString(moeCompilerGetVersion()); },
      "The compiler, such as ``moe-mlir 0.1.0, LLVM 22.1.8``.");
  module.def(
      "build_id", [] { return toString(moeCompilerGetBuildId()); },
      "Differs between builds that may compile differently.");
  module.def(
      "options",
      [] {
        nb::dict options;
        moeCompileOptionsForEach(
            [](MlirStringRef name, MlirStringRef description, void *data) {
              (*static_cast<nb::dict *>(data))[nb::cast(toString(name))] =
                  nb::cast(toString(description));
            },
            &options);
        return options;
      },
      nb::sig("def options() -> dict[str, str]"),
      "The options of a compilation, and what they do.");
  module.def(
      "describe_options", describeOptions, "options"_a,
      nb::sig("def describe_options(options: "
              "collections.abc.Sequence[tuple[str, str]]) -> str"),
      "Check options; what an artifact depends on besides its module and "
      "the build.");
  module.def(
      "compile", compile, "source"_a, "filename"_a, "options"_a,
      nb::sig("def compile(source: bytes, filename: str, options: "
              "collections.abc.Sequence[tuple[str, str]]) -> tuple[bytes, "
              "bytes, bytes, list[moe_mlir.compiler.diagnostics.Diagnostic], "
              "list[moe_mlir.compiler.diagnostics.Diagnostic]]"),
      "Compile; output, PTX, report, remarks and diagnostics.");

  module.def("run_moe_compile", runTool<moeCompileMain>, "argv"_a,
             "The main of moe-compile. A process calls one main, once.");
  module.def("run_moe_opt", runTool<moeOptMain>, "argv"_a,
             "The main of moe-opt. A process calls one main, once.");
  module.def("run_moe_reduce", runTool<moeReduceMain>, "argv"_a,
             "The main of moe-reduce. A process calls one main, once.");
  module.def("run_moe_lsp_server", runTool<moeLspServerMain>, "argv"_a,
             "The main of moe-lsp-server. A process calls one main, once.");
}
