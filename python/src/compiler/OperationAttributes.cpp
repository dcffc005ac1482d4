//===- OperationAttributes.cpp - Attributes of an op ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include "mlir-c/BuiltinAttributes.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

using namespace moe::python;
using namespace nb::literals;

std::vector<std::pair<std::string, Attribute>>
OperationAttributes::getItems() const {
  return read(op, [&](MlirOperation handle) {
    std::vector<std::pair<std::string, Attribute>> items;
    for (intptr_t i = 0, e = mlirOperationGetNumAttributes(handle); i < e;
         ++i) {
      MlirNamedAttribute attribute = mlirOperationGetAttribute(handle, i);
      items.emplace_back(toString(mlirIdentifierStr(attribute.name)),
                         make(attribute.attribute));
    }
    return items;
  });
}

std::optional<Attribute>
OperationAttributes::find(const std::string &name) const {
  return read(op, [&](MlirOperation handle) -> std::optional<Attribute> {
    MlirAttribute attribute =
        mlirOperationGetAttributeByName(handle, toRef(name));
    if (mlirAttributeIsNull(attribute))
      return std::nullopt;
    return make(attribute);
  });
}

void OperationAttributes::failToFind(const std::string &name) const {
  std::string text = "'" + read(op, getOperationName) + "' has no attribute '" +
                     name + "'; it has:";
  for (const auto &item : getItems())
    text += " " + item.first;
  throw nb::key_error(text.c_str());
}

Attribute OperationAttributes::get(const std::string &name) const {
  if (std::optional<Attribute> attribute = find(name))
    return *attribute;
  failToFind(name);
}

static std::string quote(MlirOperation op, const std::string &name) {
  return "'" + getOperationName(op) + "' attribute '" + name + "' ";
}

/// Whether the sizes of groups of values add up to those that the op has. Ops
/// trust them when their values are asked for, also to be verified.
static bool fitsValues(MlirOperation op, const std::string &name,
                       MlirAttribute sizes) {
  bool areOperands = name == "operandSegmentSizes";
  if (!areOperands && name != "resultSegmentSizes")
    return true;
  if (!mlirAttributeIsADenseI32Array(sizes))
    return false;
  int64_t sum = 0;
  for (intptr_t i = 0, e = mlirDenseArrayGetNumElements(sizes); i < e; ++i) {
    int32_t size = mlirDenseI32ArrayGetElement(sizes, i);
    if (size < 0)
      return false;
    sum += size;
  }
  return sum == (areOperands ? mlirOperationGetNumOperands(op)
                             : mlirOperationGetNumResults(op));
}

void OperationAttributes::set(const std::string &name,
                              const Attribute &attribute) const {
  if (attribute.context != op.module->context)
    throw nb::value_error("the attribute is of another context than the op");
  std::string reason = read(op, [&](MlirOperation handle) -> std::string {
    MlirStringRef key = toRef(name);
    if (!mlirOperationHasInherentAttributeByName(handle, key)) {
      mlirOperationSetAttributeByName(handle, key, attribute.handle);
      return "";
    }
    MlirAttribute old = mlirOperationGetInherentAttributeByName(handle, key);
    bool isSet = fitsValues(handle, name, attribute.handle);
    if (isSet) {
      mlirOperationSetInherentAttributeByName(handle, key, attribute.handle);
      // The op drops what is of another kind, and has no attribute then, which
      // nothing that it needs may be.
      isSet = mlirAttributeEqual(
          mlirOperationGetInherentAttributeByName(handle, key),
          attribute.handle);
      if (!isSet)
        mlirOperationSetInherentAttributeByName(handle, key, old);
    }
    if (isSet)
      return "";
    std::string text = quote(handle, name) + "expects another kind of value";
    if (!mlirAttributeIsNull(old)) {
      text += ", as ";
      mlirAttributePrint(old, appendText, &text);
    }
    text += ", got ";
    mlirAttributePrint(attribute.handle, appendText, &text);
    return text;
  });
  if (!reason.empty())
    throw nb::value_error(reason.c_str());
}

/// What ops of the same name have for an attribute that is not given, or null.
static MlirAttribute getDefault(MlirOperation op, MlirStringRef name) {
  MlirStringRef opName = mlirIdentifierStr(mlirOperationGetName(op));
  MlirOperationState state =
      mlirOperationStateGet(opName, mlirOperationGetLocation(op));
  // Nothing but its attributes is ever looked at.
  MlirOperation other = mlirOperationCreate(&state);
  MlirAttribute value = mlirOperationGetInherentAttributeByName(other, name);
  mlirOperationDestroy(other);
  return value;
}

/// Whether the op, which has no attribute of the name, is wrong without it.
static bool isMissing(const Operation &op, MlirOperation handle,
                      const std::string &name) {
  std::vector<Diagnostic> diagnostics = runInContext(
      *op.module->context, [&] { (void)mlirOperationVerify(handle); });
  // The first thing that an op says when its operands are right.
  std::string message = "requires attribute '" + name + "'";
  return std::any_of(diagnostics.begin(), diagnostics.end(),
                     [&](const Diagnostic &diagnostic) {
                       return diagnostic.op == getOperationName(handle) &&
                              diagnostic.message.find(message) !=
                                  std::string::npos;
                     });
}

void OperationAttributes::remove(const std::string &name) const {
  if (!find(name))
    failToFind(name);
  ContextLock lock(*op.module->context);
  MlirOperation handle = op.get();
  MlirStringRef key = toRef(name);
  if (!mlirOperationHasInherentAttributeByName(handle, key)) {
    mlirOperationRemoveAttributeByName(handle, key);
    return;
  }
  // Ops that nobody knows keep what they are given in one piece, and cannot do
  // without a part of it.
  bool canRemove = mlirContextIsRegisteredOperation(
                       op.module->context->get(),
                       mlirIdentifierStr(mlirOperationGetName(handle))) &&
                   name != "operandSegmentSizes" &&
                   name != "resultSegmentSizes";
  if (canRemove) {
    MlirAttribute old = mlirOperationGetInherentAttributeByName(handle, key);
    MlirAttribute usual = getDefault(handle, key);
    mlirOperationSetInherentAttributeByName(handle, key, usual);
    canRemove = !mlirAttributeIsNull(usual) || !isMissing(op, handle, name);
    if (!canRemove)
      mlirOperationSetInherentAttributeByName(handle, key, old);
  }
  if (!canRemove)
    throw nb::value_error(
        (quote(handle, name) + "is required, and has no default").c_str());
}

void moe::python::bindOperationAttributes(nb::module_ &module) {
  nb::class_<OperationAttributes>(
      module, "OperationAttributes",
      "The attributes of an op, by name. Changes go to the "
      "op, which is not verified.")
      .def("__len__",
           [](const OperationAttributes &self) {
             return self.getItems().size();
           })
      .def("__contains__",
           [](const OperationAttributes &self, const std::string &name) {
             return self.find(name).has_value();
           })
      .def(
          "__iter__",
          [](const OperationAttributes &self) {
            nb::list names;
            for (const auto &item : self.getItems())
              names.append(item.first);
            return nb::iter(names);
          },
          nb::sig("def __iter__(self) -> typing.Iterator[str]"))
      .def("__getitem__", &OperationAttributes::get, "name"_a)
      .def("__setitem__", &OperationAttributes::set, "name"_a, "attribute"_a,
           R"(Set an attribute.

Raises
------
ValueError
    It is of another context, or the op takes no attribute of its kind.)")
      .def("__delitem__", &OperationAttributes::remove, "name"_a,
           R"(Delete an attribute; one that has a default goes back to it.

Raises
------
KeyError
    The op has no such attribute.
ValueError
    The op cannot do without it, and keeps it.)")
      .def("get", &OperationAttributes::find, "name"_a,
           "The attribute, or None when the op has none of this name.")
      .def(
          "keys",
          [](const OperationAttributes &self) {
            std::vector<std::string> names;
            for (const auto &item : self.getItems())
              names.push_back(item.first);
            return names;
          },
          "The names, in the order in which they are printed.")
      .def(
          "items",
          [](const OperationAttributes &self) {
            nb::list items;
            for (const auto &[name, attribute] : self.getItems())
              items.append(nb::make_tuple(name, attribute));
            return items;
          },
          nb::sig("def items(self) -> list[tuple[str, Attribute]]"),
          "Names and attributes, in the order in which they are printed.");
}
