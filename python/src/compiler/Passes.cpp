//===- Passes.cpp - Pass managers -----------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include "moe-mlir-c/Passes.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>

using namespace moe::python;
using namespace nb::literals;

static constexpr std::string_view kAnchor = "builtin.module";

namespace {

struct PassManager {
  /// As it was given, which has been parsed once.
  std::string pipeline;
  /// With its passes and their options written out.
  std::string expanded;
};

/// What is noted while passes run.
struct Recording {
  using Clock = std::chrono::steady_clock;
  struct Dump {
    std::string pass, op, text;
  };
  struct Timing {
    std::string pass, op;
    double seconds;
  };

  std::vector<std::string> printAfter;
  std::vector<Dump> dumps;
  std::vector<Timing> timings;
  /// Of passes that run passes: when each began.
  std::vector<Clock::time_point> starts;
  /// The last to begin.
  std::string pass;

  bool prints(std::string_view pass) const {
    return std::any_of(
        printAfter.begin(), printAfter.end(),
        [&](const std::string &name) { return name == pass || name == "all"; });
  }
  static void before(MlirStringRef pass, MlirOperation op, void *data);
  static void after(MlirStringRef pass, MlirOperation op, bool succeeded,
                    void *data);
};

} // namespace

void Recording::before(MlirStringRef pass, MlirOperation, void *data) {
  auto &self = *static_cast<Recording *>(data);
  if (pass.length > 0)
    self.pass = toString(pass);
  self.starts.push_back(Clock::now());
}

void Recording::after(MlirStringRef pass, MlirOperation op, bool succeeded,
                      void *data) {
  auto &self = *static_cast<Recording *>(data);
  std::chrono::duration<double> time = Clock::now() - self.starts.back();
  self.starts.pop_back();
  // What only runs other passes has no name.
  if (pass.length == 0)
    return;
  std::string name = toString(pass), opName = getOperationName(op);
  self.timings.push_back({name, opName, time.count()});
  if (!self.prints(name))
    return;
  // After a failure the op may be invalid, which the generic form survives.
  PrintOptions options;
  options.generic = !succeeded;
  self.dumps.push_back({name, opName, printOperation(op, options)});
}

/// Adds the passes of a pipeline; returns what is wrong with it.
static std::string addPipeline(MlirPassManager manager,
                               const std::string &pipeline) {
  MlirOpPassManager ops = mlirPassManagerGetAsOpPassManager(manager);
  std::string error;
  // With its anchor a pipeline would be added below this one, and never run.
  size_t start = pipeline.find_first_not_of(" \t\n");
  bool isAnchored = start != std::string::npos &&
                    pipeline.compare(start, kAnchor.size(), kAnchor) == 0;
  MlirLogicalResult result =
      isAnchored
          ? mlirParsePassPipeline(ops, toRef(pipeline), appendText, &error)
          : mlirOpPassManagerAddPipeline(ops, toRef(pipeline), appendText,
                                         &error);
  if (mlirLogicalResultIsFailure(result) && error.empty())
    error = "the pipeline cannot be parsed";
  return error;
}

static PassManager makePassManager(const std::string &pipeline) {
  PassManager manager{pipeline, ""};
  std::string error;
  runRecoverably([&] {
    moeRegisterAllPasses();
    MlirContext context = mlirContextCreateWithThreading(false);
    MlirPassManager handle =
        mlirPassManagerCreateOnOperation(context, toRef(kAnchor));
    error = addPipeline(handle, pipeline);
    if (error.empty())
      mlirPrintPassPipeline(mlirPassManagerGetAsOpPassManager(handle),
                            appendText, &manager.expanded);
    mlirPassManagerDestroy(handle);
    mlirContextDestroy(context);
  });
  if (error.empty())
    return manager;
  while (!error.empty() && error.back() == '\n')
    error.pop_back();
  throw CompileFailure({makeError("pipeline '" + pipeline + "': " + error)},
                       CompileFailure::Option);
}

/// Whether `name` is a word of a pipeline.
static bool hasPass(const std::string &pipeline, const std::string &name) {
  auto isEnd = [&](size_t pos) {
    return pos >= pipeline.size() ||
           std::string_view("(){},").find(pipeline[pos]) !=
               std::string_view::npos;
  };
  for (size_t pos = pipeline.find(name); pos != std::string::npos;
       pos = pipeline.find(name, pos + 1))
    if ((pos == 0 || isEnd(pos - 1)) && isEnd(pos + name.size()))
      return true;
  return false;
}

static nb::object toPython(const Recording &recording,
                           const std::vector<Diagnostic> &diagnostics) {
  constexpr const char *home = "moe_mlir.compiler.passes";
  nb::object dump = importFrom(home, "IRDump"),
             timing = importFrom(home, "PassTiming");
  nb::list dumps, timings;
  for (const Recording::Dump &entry : recording.dumps)
    dumps.append(dump(entry.pass, entry.op, entry.text));
  for (const Recording::Timing &entry : recording.timings)
    timings.append(timing(entry.pass, entry.op, entry.seconds));
  std::vector<Diagnostic> remarks, others;
  for (const Diagnostic &diagnostic : diagnostics)
    (diagnostic.severity == MlirDiagnosticRemark ? remarks : others)
        .push_back(diagnostic);
  return importFrom(home, "PassRun")(dumps, timings, toPython(remarks),
                                     toPython(others));
}

static nb::object run(const PassManager &self, const Module &module,
                      std::vector<std::string> printAfter, bool verifyEach,
                      const std::optional<std::string> &remarks) {
  for (const std::string &name : printAfter)
    if (name != "all" && !hasPass(self.expanded, name))
      throw CompileFailure(
          {makeError("'print_after' expects passes of the "
                     "pipeline, or 'all', got '" +
                     name + "'; the pipeline is " + self.expanded)},
          CompileFailure::Option);
  ModuleState &state = *module.state;
  ContextLock lock(*state.context);
  Recording recording;
  recording.printAfter = std::move(printAfter);
  std::string wanted = remarks.value_or("^$"), wrong;
  bool succeeded = false;
  // Even a failure may have replaced ops.
  ++state.generation;
  std::vector<Diagnostic> diagnostics;
  try {
    diagnostics = runInContext(*state.context, [&] {
      MlirContext context = state.context->get();
      if (wanted != state.context->remarks &&
          mlirLogicalResultIsFailure(
              moeContextEnableRemarks(context, toRef(wanted)))) {
        wrong = "'remarks' expects a regular expression, got '" + wanted + "'";
        return;
      }
      state.context->remarks = wanted;
      MlirPassManager manager =
          mlirPassManagerCreateOnOperation(context, toRef(kAnchor));
      wrong = addPipeline(manager, self.pipeline);
      mlirPassManagerEnableVerifier(manager, verifyEach);
      moePassManagerAddObserver(
          manager, {Recording::before, Recording::after, &recording});
      MlirOperation op = mlirModuleGetOperation(state.module);
      // The first pass may rely on a valid module as much as all others do.
      if (wrong.empty() && (!verifyEach || mlirOperationVerify(op)))
        succeeded =
            mlirLogicalResultIsSuccess(mlirPassManagerRunOnOp(manager, op));
      mlirPassManagerDestroy(manager);
    });
  } catch (CompileFailure &failure) {
    if (!recording.pass.empty())
      failure.diagnostics.back().message +=
          ", in pass '" + recording.pass + "'";
    throw;
  }
  if (!wrong.empty())
    throw CompileFailure({makeError(wrong)}, CompileFailure::Option);
  if (succeeded)
    return toPython(recording, diagnostics);
  nb::object error = importFrom("moe_mlir.compiler.diagnostics",
                                "CompileError")(toPython(diagnostics));
  error.attr("passes") = toPython(recording, diagnostics);
  PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(error.ptr())),
                  error.ptr());
  throw nb::python_error();
}

void moe::python::bindPasses(nb::module_ &module) {
  nb::class_<PassManager>(module, "PassManager",
                          R"(Passes to run on modules.

Parameters
----------
pipeline
    As moe-opt and mlir-opt read it, such as ``moe-plan{target=cuda},canonicalize``,
    with or without ``builtin.module(...)`` around it.

Raises
------
OptionError
    There is no such pass or option.)")
      .def(
          "__init__",
          [](PassManager *self, const std::string &pipeline) {
            new (self) PassManager(makePassManager(pipeline));
          },
          "pipeline"_a)
      .def(
          "__str__", [](const PassManager &self) { return self.expanded; },
          "The pipeline, with pipelines of pipelines and defaults written out.")
      .def("run", run, "module"_a, nb::kw_only(),
           "print_after"_a = std::vector<std::string>(), "verify_each"_a = true,
           "remarks"_a = nb::none(),
           nb::sig("def run(self, module: Module, *, print_after: "
                   "collections.abc.Sequence[str] = (), verify_each: bool = "
                   "True, remarks: str | None = None) -> "
                   "moe_mlir.compiler.passes.PassRun"),
           R"(Run the passes on a module, which they change.

Operations that were taken from the module before raise StaleError afterwards.

Parameters
----------
module
    The module.
print_after
    Passes after which the IR is kept; ``all`` for all.
verify_each
    Whether the module is verified before the first pass and after each.
remarks
    A regular expression: remarks whose category it matches are kept, ``.*`` for
    all. Categories are named after passes.

Returns
-------
PassRun
    The IR that was kept, the time of each pass, remarks and warnings.

Raises
------
CompileError
    A pass has failed, or the module was wrong before. Its attribute ``passes`` is the PassRun up to there.
OptionError
    An argument is wrong.
CompilerCrash
    A pass has crashed. The context can no longer be used.)");
}
