//===- Constants.cpp - Types, attributes and locations --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include "moe-mlir-c/Diagnostics.h"

#include "mlir-c/BuiltinAttributes.h"
#include "mlir-c/BuiltinTypes.h"

#include <nanobind/operators.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

using namespace moe::python;
using namespace nb::literals;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

static bool isShaped(const Type &type) {
  return mlirTypeIsAShaped(type.handle);
}

static std::optional<nb::tuple> getShape(const Type &type) {
  ContextLock lock(*type.context);
  if (!isShaped(type) || !mlirShapedTypeHasRank(type.handle))
    return std::nullopt;
  nb::list shape;
  for (int64_t i = 0, e = mlirShapedTypeGetRank(type.handle); i < e; ++i) {
    if (mlirShapedTypeIsDynamicDim(type.handle, i))
      shape.append(nb::none());
    else
      shape.append(mlirShapedTypeGetDimSize(type.handle, i));
  }
  return nb::tuple(shape);
}

static std::optional<Type> getElementType(const Type &type) {
  ContextLock lock(*type.context);
  if (!isShaped(type))
    return std::nullopt;
  return Type{type.context, mlirShapedTypeGetElementType(type.handle)};
}

static std::vector<Type> getInputs(const Type &type) {
  ContextLock lock(*type.context);
  std::vector<Type> types;
  if (mlirTypeIsAFunction(type.handle))
    for (intptr_t i = 0, e = mlirFunctionTypeGetNumInputs(type.handle); i < e;
         ++i)
      types.push_back({type.context, mlirFunctionTypeGetInput(type.handle, i)});
  return types;
}

static std::vector<Type> getResultTypes(const Type &type) {
  ContextLock lock(*type.context);
  std::vector<Type> types;
  if (mlirTypeIsAFunction(type.handle))
    for (intptr_t i = 0, e = mlirFunctionTypeGetNumResults(type.handle); i < e;
         ++i)
      types.push_back(
          {type.context, mlirFunctionTypeGetResult(type.handle, i)});
  return types;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

static std::string print(const Attribute &attribute) {
  ContextLock lock(*attribute.context);
  std::string text;
  mlirAttributePrint(attribute.handle, appendText, &text);
  return text;
}

static nb::object getIntegerValue(MlirAttribute attribute) {
  MlirType type = mlirAttributeGetType(attribute);
  if (mlirTypeIsAInteger(type) && mlirIntegerTypeGetWidth(type) > 64)
    throw nb::type_error("an integer of more than 64 bits has no 'value'");
  if (mlirTypeIsAInteger(type) && mlirIntegerTypeIsUnsigned(type))
    return nb::int_(mlirIntegerAttrGetValueUInt(attribute));
  if (mlirTypeIsAInteger(type) && mlirIntegerTypeIsSigned(type))
    return nb::int_(mlirIntegerAttrGetValueSInt(attribute));
  return nb::int_(mlirIntegerAttrGetValueInt(attribute));
}

static std::string getSymbol(MlirAttribute attribute) {
  std::string text = toString(mlirSymbolRefAttrGetRootReference(attribute));
  for (intptr_t i = 0, e = mlirSymbolRefAttrGetNumNestedReferences(attribute);
       i < e; ++i)
    text += "::" + toString(mlirSymbolRefAttrGetRootReference(
                       mlirSymbolRefAttrGetNestedReference(attribute, i)));
  return text;
}

static nb::object getValue(const ContextPtr &context, MlirAttribute attribute) {
  // A bool is an integer as well.
  if (mlirAttributeIsABool(attribute))
    return nb::bool_(mlirBoolAttrGetValue(attribute));
  if (mlirAttributeIsAInteger(attribute))
    return getIntegerValue(attribute);
  if (mlirAttributeIsAFloat(attribute))
    return nb::float_(mlirFloatAttrGetValueDouble(attribute));
  if (mlirAttributeIsAString(attribute))
    return decode(toString(mlirStringAttrGetValue(attribute)));
  if (mlirAttributeIsASymbolRef(attribute))
    return nb::cast(getSymbol(attribute));
  if (mlirAttributeIsAType(attribute))
    return nb::cast(Type{context, mlirTypeAttrGetValue(attribute)});
  if (mlirAttributeIsAUnit(attribute))
    return nb::bool_(true);
  if (mlirAttributeIsAArray(attribute)) {
    nb::list list;
    for (intptr_t i = 0, e = mlirArrayAttrGetNumElements(attribute); i < e; ++i)
      list.append(getValue(context, mlirArrayAttrGetElement(attribute, i)));
    return std::move(list);
  }
  if (mlirAttributeIsADictionary(attribute)) {
    nb::dict dict;
    for (intptr_t i = 0, e = mlirDictionaryAttrGetNumElements(attribute); i < e;
         ++i) {
      MlirNamedAttribute entry = mlirDictionaryAttrGetElement(attribute, i);
      dict[decode(toString(mlirIdentifierStr(entry.name)))] =
          getValue(context, entry.attribute);
    }
    return std::move(dict);
  }
  if (mlirAttributeIsADenseI64Array(attribute) ||
      mlirAttributeIsADenseI32Array(attribute)) {
    bool isWide = mlirAttributeIsADenseI64Array(attribute);
    nb::list list;
    for (intptr_t i = 0, e = mlirDenseArrayGetNumElements(attribute); i < e;
         ++i)
      list.append(isWide ? mlirDenseI64ArrayGetElement(attribute, i)
                         : mlirDenseI32ArrayGetElement(attribute, i));
    return std::move(list);
  }
  std::string message = "attribute '" + print({context, attribute}) +
                        "' has no 'value' in Python; use str()";
  throw nb::type_error(message.c_str());
}

//===----------------------------------------------------------------------===//
// Locations
//===----------------------------------------------------------------------===//

namespace {
struct Place {
  std::string file;
  int64_t line, column;
};
} // namespace

static std::optional<Place> getPlace(const Location &location) {
  ContextLock lock(*location.context);
  MlirStringRef file;
  int64_t line, column;
  if (!moeLocationGetFile(location.handle, &file, &line, &column))
    return std::nullopt;
  return Place{toString(file), line, column};
}

//===----------------------------------------------------------------------===//
// Classes
//===----------------------------------------------------------------------===//

/// Parses a type or an attribute in `context`; errors are exceptions.
template <typename T, T (*parse)(MlirContext, MlirStringRef)>
static Constant<T> parseConstant(const std::string &text,
                                 const Context &context) {
  T result = {nullptr};
  std::vector<Diagnostic> diagnostics = runInContext(*context.state, [&] {
    result = parse(context.state->get(), toRef(text));
  });
  if (!result.ptr)
    throw CompileFailure(std::move(diagnostics));
  return {context.state, result};
}

/// What all constants have: comparison, and a place in sets and dictionaries.
template <typename T, bool (*equal)(T, T)>
static void addIdentity(nb::class_<Constant<T>> &type) {
  type.def(
      "__eq__",
      [](const Constant<T> &self, nb::handle other) {
        Constant<T> *rhs;
        return nb::try_cast<Constant<T> *>(other, rhs) && rhs &&
               equal(self.handle, rhs->handle);
      },
      "other"_a.none());
  type.def("__hash__", [](const Constant<T> &self) {
    return std::hash<const void *>()(self.handle.ptr);
  });
}

void moe::python::bindConstants(nb::module_ &module) {
  auto type = nb::class_<Type>(module, "Type",
                               "A type of MLIR. It keeps its context alive.");
  addIdentity<MlirType, mlirTypeEqual>(type);
  type.def_static("parse", parseConstant<MlirType, mlirTypeParseGet>, "text"_a,
                  "context"_a,
                  R"(Read a type such as ``tensor<4xf32>``.

Raises
------
CompileError
    The text is no type.)")
      .def("__str__",
           [](const Type &self) {
             ContextLock lock(*self.context);
             std::string text;
             mlirTypePrint(self.handle, appendText, &text);
             return text;
           })
      .def("__repr__",
           [](nb::handle self) {
             return nb::str("Type({})").format(nb::str(self));
           })
      .def_prop_ro("shape", getShape,
                   nb::sig("def shape(self) -> tuple[int | None, ...] | None"),
                   "Extents of a ranked tensor, memref or vector, None for a "
                   "dynamic one; None for other types.")
      .def_prop_ro("element_type", getElementType,
                   "What a tensor, memref or vector consists of; None for "
                   "other types.")
      .def_prop_ro("inputs", getInputs,
                   "Types of the arguments of a function type; empty for "
                   "others.")
      .def_prop_ro("results", getResultTypes,
                   "Types of the results of a function type; empty for "
                   "others.");

  auto attribute = nb::class_<Attribute>(
      module, "Attribute", "An attribute of MLIR. It keeps its context alive.");
  addIdentity<MlirAttribute, mlirAttributeEqual>(attribute);
  attribute
      .def_static(
          "parse", parseConstant<MlirAttribute, mlirAttributeParseGet>,
          "text"_a, "context"_a,
          R"(Read an attribute such as ``256 : i64`` or ``#moe.layout<expert_major>``.

Raises
------
CompileError
    The text is no attribute.)")
      .def("__str__", print)
      .def("__repr__",
           [](nb::handle self) {
             return nb::str("Attribute({})").format(nb::str(self));
           })
      .def_prop_ro(
          "value",
          [](const Attribute &self) {
            ContextLock lock(*self.context);
            return getValue(self.context, self.handle);
          },
          nb::sig("def value(self) -> typing.Any"),
          R"(The attribute in Python's types.

An int, float, bool or str; the name of a symbol as a str, with ``::`` between
nested ones; True for a unit; a Type; a list or a dict of these.

Raises
------
TypeError
    The attribute is of another kind, such as one of a dialect; ``str()`` works
    for all.)");

  auto location = nb::class_<Location>(
      module, "Location",
      "Where an op comes from. It keeps its context alive.");
  addIdentity<MlirLocation, mlirLocationEqual>(location);
  location
      .def("__str__",
           [](const Location &self) {
             ContextLock lock(*self.context);
             std::string text;
             mlirLocationPrint(self.handle, appendText, &text);
             return text;
           })
      .def("__repr__",
           [](nb::handle self) {
             return nb::str("Location({})").format(nb::str(self));
           })
      .def_prop_ro(
          "file",
          [](const Location &self) -> std::optional<std::string> {
            if (std::optional<Place> place = getPlace(self))
              return place->file;
            return std::nullopt;
          },
          "The first source file that it names, None when it names none.")
      .def_prop_ro(
          "line",
          [](const Location &self) -> std::optional<int64_t> {
            if (std::optional<Place> place = getPlace(self))
              return place->line;
            return std::nullopt;
          },
          "The line in `file`, from 1.")
      .def_prop_ro(
          "column",
          [](const Location &self) -> std::optional<int64_t> {
            if (std::optional<Place> place = getPlace(self))
              return place->column;
            return std::nullopt;
          },
          "The column in `line`, from 1.");
}
