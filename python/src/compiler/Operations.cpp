//===- Operations.cpp - Ops, regions, blocks and values -------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <nanobind/operators.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

using namespace moe::python;
using namespace nb::literals;

std::string moe::python::getOperationName(MlirOperation op) {
  return toString(mlirIdentifierStr(mlirOperationGetName(op)));
}

std::string moe::python::printOperation(MlirOperation op,
                                        const PrintOptions &options) {
  MlirOpPrintingFlags flags = mlirOpPrintingFlagsCreate();
  if (options.debugInfo)
    mlirOpPrintingFlagsEnableDebugInfo(flags, /*enable=*/true,
                                       /*prettyForm=*/false);
  if (options.generic)
    mlirOpPrintingFlagsPrintGenericOpForm(flags);
  if (options.localScope)
    mlirOpPrintingFlagsUseLocalScope(flags);
  if (options.skipRegions)
    mlirOpPrintingFlagsSkipRegions(flags);
  if (options.elideElements) {
    mlirOpPrintingFlagsElideLargeElementsAttrs(flags, *options.elideElements);
    mlirOpPrintingFlagsElideLargeResourceString(flags, *options.elideElements);
  }
  std::string text;
  mlirOperationPrintWithFlags(op, flags, appendText, &text);
  mlirOpPrintingFlagsDestroy(flags);
  return text;
}

//===----------------------------------------------------------------------===//
// Access
//===----------------------------------------------------------------------===//

static std::string print(const Operation &op, const PrintOptions &options) {
  std::string text;
  ContextLock lock(*op.module->context);
  MlirOperation handle = op.get();
  runInContext(*op.module->context,
               [&] { text = printOperation(handle, options); });
  return text;
}

static void verify(const Operation &op) {
  bool isValid = false;
  ContextLock lock(*op.module->context);
  MlirOperation handle = op.get();
  std::vector<Diagnostic> diagnostics = runInContext(
      *op.module->context, [&] { isValid = mlirOperationVerify(handle); });
  if (!isValid)
    throw CompileFailure(std::move(diagnostics));
}

static std::vector<Operation> walk(const Operation &op,
                                   const std::optional<std::string> &name) {
  struct Found {
    const std::optional<std::string> &name;
    std::vector<MlirOperation> ops;
  } found{name, {}};
  auto visit = [](MlirOperation op, void *data) {
    auto &found = *static_cast<Found *>(data);
    if (!found.name || getOperationName(op) == *found.name)
      found.ops.push_back(op);
    return MlirWalkResultAdvance;
  };
  return read(op, [&](MlirOperation handle) {
    mlirOperationWalk(handle, visit, &found, MlirWalkPreOrder);
    std::vector<Operation> ops;
    for (MlirOperation other : found.ops)
      ops.push_back(op.make(other));
    return ops;
  });
}

static std::vector<Value> getOperands(const Operation &op) {
  return read(op, [&](MlirOperation handle) {
    std::vector<Value> values;
    for (intptr_t i = 0, e = mlirOperationGetNumOperands(handle); i < e; ++i)
      values.push_back(op.make(mlirOperationGetOperand(handle, i)));
    return values;
  });
}

static std::vector<Value> getResults(const Operation &op) {
  return read(op, [&](MlirOperation handle) {
    std::vector<Value> values;
    for (intptr_t i = 0, e = mlirOperationGetNumResults(handle); i < e; ++i)
      values.push_back(op.make(mlirOperationGetResult(handle, i)));
    return values;
  });
}

static std::vector<Region> getRegions(const Operation &op) {
  return read(op, [&](MlirOperation handle) {
    std::vector<Region> regions;
    for (intptr_t i = 0, e = mlirOperationGetNumRegions(handle); i < e; ++i)
      regions.push_back(op.make(mlirOperationGetRegion(handle, i)));
    return regions;
  });
}

static std::optional<Operation> getParent(const Operation &op) {
  return read(op, [&](MlirOperation handle) -> std::optional<Operation> {
    MlirOperation parent = mlirOperationGetParentOperation(handle);
    if (mlirOperationIsNull(parent))
      return std::nullopt;
    return op.make(parent);
  });
}

static std::vector<Block> getBlocks(const Region &region) {
  return read(region, [&](MlirRegion handle) {
    std::vector<Block> blocks;
    for (MlirBlock block = mlirRegionGetFirstBlock(handle);
         !mlirBlockIsNull(block); block = mlirBlockGetNextInRegion(block))
      blocks.push_back(region.make(block));
    return blocks;
  });
}

static std::vector<Value> getArguments(const Block &block) {
  return read(block, [&](MlirBlock handle) {
    std::vector<Value> values;
    for (intptr_t i = 0, e = mlirBlockGetNumArguments(handle); i < e; ++i)
      values.push_back(block.make(mlirBlockGetArgument(handle, i)));
    return values;
  });
}

static std::vector<Operation> getOperations(const Block &block) {
  return read(block, [&](MlirBlock handle) {
    std::vector<Operation> ops;
    for (MlirOperation op = mlirBlockGetFirstOperation(handle);
         !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
      ops.push_back(block.make(op));
    return ops;
  });
}

static std::variant<Operation, Block> getOwner(const Value &value) {
  return read(value, [&](MlirValue handle) -> std::variant<Operation, Block> {
    if (mlirValueIsAOpResult(handle))
      return value.make(mlirOpResultGetOwner(handle));
    return value.make(mlirBlockArgumentGetOwner(handle));
  });
}

static std::vector<Operation> getUsers(const Value &value) {
  return read(value, [&](MlirValue handle) {
    std::vector<Operation> users;
    for (MlirOpOperand use = mlirValueGetFirstUse(handle);
         !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
      users.push_back(value.make(mlirOpOperandGetOwner(use)));
    return users;
  });
}

//===----------------------------------------------------------------------===//
// Classes
//===----------------------------------------------------------------------===//

/// Comparison, and a place in sets and dictionaries.
template <typename T> static void addIdentity(nb::class_<Node<T>> &type) {
  type.def(
      "__eq__",
      [](const Node<T> &self, nb::handle other) {
        Node<T> *rhs;
        return nb::try_cast<Node<T> *>(other, rhs) && rhs &&
               self.handle.ptr == rhs->handle.ptr &&
               self.generation == rhs->generation;
      },
      "other"_a.none());
  type.def("__hash__", [](const Node<T> &self) {
    return std::hash<const void *>()(self.handle.ptr);
  });
}

static void bindValue(nb::module_ &module) {
  auto value = nb::class_<Value>(
      module, "Value", "A result of an op, or an argument of a block.");
  addIdentity(value);
  value
      .def("__str__",
           [](const Value &self) {
             return read(self, [](MlirValue handle) {
               std::string text;
               mlirValuePrint(handle, appendText, &text);
               return text;
             });
           })
      .def("__repr__",
           [](const Value &self) {
             return read(self, [](MlirValue handle) {
               std::string type;
               mlirTypePrint(mlirValueGetType(handle), appendText, &type);
               return "Value(" + type + ")";
             });
           })
      .def_prop_ro(
          "type",
          [](const Value &self) {
            return read(self, [&](MlirValue handle) {
              return Type{self.module->context, mlirValueGetType(handle)};
            });
          },
          "The type.")
      .def_prop_ro("owner", getOwner,
                   "The op that it is a result of, or the block that it is an "
                   "argument of.")
      .def_prop_ro("users", getUsers, "The ops that use it, one for each use.")
      .def_prop_ro(
          "number",
          [](const Value &self) {
            return read(self, [](MlirValue handle) {
              return mlirValueIsAOpResult(handle)
                         ? mlirOpResultGetResultNumber(handle)
                         : mlirBlockArgumentGetArgNumber(handle);
            });
          },
          "Its place among the results or arguments, from 0.");
}

void moe::python::bindOperations(nb::module_ &module) {
  auto block = nb::class_<Block>(module, "Block", "A list of ops.");
  auto region =
      nb::class_<Region>(module, "Region", "The blocks nested in an op.");
  auto op = nb::class_<Operation>(module, "Operation",
                                  R"(An operation in a module.

It belongs to its module, and keeps it alive. Passes replace operations: after
one has run on the module, what was taken from it before raises StaleError.)");
  bindOperationAttributes(module);
  bindValue(module);

  addIdentity(block);
  block
      .def_prop_ro("arguments", getArguments,
                   "The arguments of the block; of a function's first block, "
                   "those of the function.")
      .def_prop_ro("operations", getOperations, "The ops, in order.");

  addIdentity(region);
  region.def_prop_ro("blocks", getBlocks, "The blocks; the first is entered.");

  addIdentity(op);
  op.def("__str__", [](const Operation &self) { return print(self, {}); })
      .def("__repr__",
           [](const Operation &self) {
             return "Operation(" + read(self, getOperationName) + ")";
           })
      .def_prop_ro(
          "name",
          [](const Operation &self) { return read(self, getOperationName); },
          "The name, such as ``moe.dispatch``.")
      .def_prop_ro(
          "location",
          [](const Operation &self) {
            return read(self, [&](MlirOperation handle) {
              return Location{self.module->context,
                              mlirOperationGetLocation(handle)};
            });
          },
          "Where it comes from.")
      .def_prop_ro(
          "attributes",
          [](const Operation &self) {
            read(self, [](MlirOperation) { return 0; });
            return OperationAttributes{self};
          },
          "Its attributes, by name.")
      .def_prop_ro("operands", getOperands, "The values it uses.")
      .def_prop_ro("results", getResults, "The values it defines.")
      .def_prop_ro("regions", getRegions, "What is nested in it.")
      .def_prop_ro("parent", getParent,
                   "The op that it is nested in; None for a module on top.")
      .def("walk", walk, "name"_a = nb::none(),
           R"(All ops from this one down, an op before those nested in it.

Parameters
----------
name
    Only ops of this name, such as ``moe.dispatch``.)")
      .def("verify", verify,
           R"(Check the op, and what is nested in it.

Raises
------
CompileError
    Something is wrong; it says what and where.)")
      .def(
          "print",
          [](const Operation &self, bool debugInfo, bool generic,
             bool localScope, bool skipRegions,
             std::optional<int64_t> elideElements) {
            return print(self, {debugInfo, generic, localScope, skipRegions,
                                elideElements});
          },
          nb::kw_only(), "debug_info"_a = false, "generic"_a = false,
          "local_scope"_a = false, "skip_regions"_a = false,
          "elide_elements"_a = nb::none(),
          R"(The op as text.

Parameters
----------
debug_info
    With locations.
generic
    In the form that every MLIR reads, whether it knows the op or not.
local_scope
    Without aliases of types and attributes.
skip_regions
    Without what is nested in it.
elide_elements
    Constants of more elements are left out. The text cannot be read back then.)");
}
