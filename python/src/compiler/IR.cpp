//===- IR.cpp - Contexts and modules --------------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include "moe-mlir-c/IR.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>

using namespace moe::python;
using namespace nb::literals;

static Module parse(std::variant<nb::str, nb::bytes> source,
                    std::optional<Context> context,
                    const std::string &filename) {
  std::string text;
  if (auto *bytes = std::get_if<nb::bytes>(&source)) {
    text.assign(bytes->c_str(), bytes->size());
  } else {
    Py_ssize_t size;
    const char *data =
        PyUnicode_AsUTF8AndSize(std::get<nb::str>(source).ptr(), &size);
    if (!data)
      throw nb::python_error();
    text.assign(data, size);
  }
  ContextPtr state =
      context ? context->state : std::make_shared<ContextState>(false);
  MlirModule module = {nullptr};
  std::vector<Diagnostic> diagnostics = runInContext(*state, [&] {
    module = moeModuleParse(state->get(), toRef(text), toRef(filename));
  });
  if (mlirModuleIsNull(module))
    throw CompileFailure(std::move(diagnostics));
  return {std::make_shared<ModuleState>(state, module)};
}

static Operation getOperation(const Module &module) {
  return Operation(module.state, mlirModuleGetOperation(module.state->module));
}

static Module cloneModule(const Module &module) {
  ModuleState &state = *module.state;
  MlirModule copy = {nullptr};
  runInContext(*state.context, [&] {
    copy = mlirModuleFromOperation(
        mlirOperationClone(mlirModuleGetOperation(state.module)));
  });
  return {std::make_shared<ModuleState>(state.context, copy)};
}

static nb::bytes getBytecode(const Module &module) {
  std::string bytes;
  bool isValid = false;
  std::vector<Diagnostic> diagnostics =
      runInContext(*module.state->context, [&] {
        MlirOperation op = mlirModuleGetOperation(module.state->module);
        // Ops write what they need without a look at whether it is there.
        isValid = mlirOperationVerify(op);
        if (isValid)
          mlirOperationWriteBytecode(op, appendText, &bytes);
      });
  if (!isValid)
    throw CompileFailure(std::move(diagnostics));
  return nb::bytes(bytes.data(), bytes.size());
}

void moe::python::bindContext(nb::module_ &module) {
  nb::class_<Context>(module, "Context",
                      R"(What types and attributes live in.

It knows all dialects of MLIR and of this project. Modules, operations, types
and attributes keep it alive. One thread uses it at a time; others wait. After a
crash of the compiler in it, it raises StaleError.

Parameters
----------
allow_unregistered
    Whether modules may have ops of dialects that are not known.)")
      .def(
          "__init__",
          [](Context *self, bool allowUnregistered) {
            new (self)
                Context{std::make_shared<ContextState>(allowUnregistered)};
          },
          nb::kw_only(), "allow_unregistered"_a = false)
      .def_prop_ro(
          "allow_unregistered",
          [](const Context &self) {
            ContextLock lock(*self.state);
            return mlirContextGetAllowUnregisteredDialects(self.state->get());
          },
          "Whether modules may have ops of dialects that are not known.")
      .def(
          "__eq__",
          [](const Context &self, nb::handle other) {
            Context *rhs;
            return nb::try_cast<Context *>(other, rhs) && rhs &&
                   self.state == rhs->state;
          },
          "other"_a.none())
      .def("__hash__", [](const Context &self) {
        return std::hash<const void *>()(self.state.get());
      });

  module.def("parse", parse, "source"_a, "context"_a = nb::none(),
             nb::kw_only(), "filename"_a = "-",
             nb::sig("def parse(source: str | bytes, context: Context | None = "
                     "None, *, filename: str = '-') -> Module"),
             R"(Read a module and verify it.

Parameters
----------
source
    Text or bytecode. Text may be several ops without a module around them.
context
    Where it goes; by default a new context.
filename
    What locations in text name.

Raises
------
CompileError
    It is no module, or a wrong one, or one of a newer MLIR.)");
}

void moe::python::bindModule(nb::module_ &module) {
  nb::class_<Module>(module, "Module", "A module. Make one with `parse`.")
      .def_prop_ro(
          "context",
          [](const Module &self) { return Context{self.state->context}; },
          "The context that it is in.")
      .def_prop_ro("operation", getOperation, "The op ``builtin.module``.")
      .def_prop_ro(
          "body",
          [](const Module &self) {
            ContextLock lock(*self.state->context);
            return Block(self.state, mlirModuleGetBody(self.state->module));
          },
          "The block with its ops.")
      .def("__str__",
           [](const Module &self) {
             return nb::str(nb::cast(getOperation(self)));
           })
      .def(
          "print",
          [](const Module &self, const nb::kwargs &options) {
            return nb::cast(getOperation(self)).attr("print")(**options);
          },
          nb::sig("def print(self, *, debug_info: bool = False, generic: bool "
                  "= False, local_scope: bool = False, skip_regions: bool = "
                  "False, elide_elements: int | None = None) -> str"),
          "The module as text; see Operation.print.")
      .def(
          "walk",
          [](const Module &self, nb::object name) {
            return nb::cast(getOperation(self)).attr("walk")(name);
          },
          "name"_a = nb::none(),
          nb::sig("def walk(self, name: str | None = None) -> list[Operation]"),
          "All its ops, or those of a name; see Operation.walk.")
      .def(
          "verify",
          [](const Module &self) {
            nb::cast(getOperation(self)).attr("verify")();
          },
          R"(Check the module.

Raises
------
CompileError
    Something is wrong; it says what and where.)")
      .def(
          "run",
          [](nb::handle self, const std::string &pipeline,
             const nb::kwargs &options) {
            return importFrom("moe_mlir._compiler", "PassManager")(pipeline)
                .attr("run")(self, **options);
          },
          "pipeline"_a, "options"_a,
          nb::sig("def run(self, pipeline: str, *, print_after: "
                  "collections.abc.Sequence[str] = (), verify_each: bool = "
                  "True, remarks: str | None = None) -> "
                  "moe_mlir.compiler.passes.PassRun"),
          "Run passes on the module; see PassManager and PassManager.run.")
      .def("clone", cloneModule, "A copy in the same context.")
      .def("bytecode", getBytecode,
           R"(The module in MLIR's binary form, with locations.

`parse` and other builds of MLIR, of this version or later, read it.

Raises
------
CompileError
    The module is wrong; it says what and where.)");
}
