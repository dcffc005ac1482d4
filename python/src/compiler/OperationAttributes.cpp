//===- OperationAttributes.cpp - Attributes of an op ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

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

void OperationAttributes::set(const std::string &name,
                              const Attribute &attribute) const {
  if (attribute.context != op.module->context)
    throw nb::value_error("the attribute is of another context than the op");
  read(op, [&](MlirOperation handle) {
    mlirOperationSetAttributeByName(handle, toRef(name), attribute.handle);
    return 0;
  });
}

void OperationAttributes::remove(const std::string &name) const {
  bool isRemoved = read(op, [&](MlirOperation handle) {
    return mlirOperationRemoveAttributeByName(handle, toRef(name));
  });
  if (!isRemoved)
    failToFind(name);
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
      .def("__setitem__", &OperationAttributes::set, "name"_a, "attribute"_a)
      .def("__delitem__", &OperationAttributes::remove, "name"_a)
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
