//===- Argument.cpp - a tensor that Python passes in ----------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Argument.h"

#include <nanobind/stl/string.h>

namespace nb = nanobind;
using namespace moe::py;

using Where = std::function<std::string()>;

[[noreturn]] static void raiseType(const std::string &message) {
  PyErr_SetString(PyExc_TypeError, message.c_str());
  throw nb::python_error();
}

static std::string typeName(nb::handle object) {
  return nb::type_name(object.type()).c_str();
}

Argument::Argument(nb::handle object, Use use, const Where &where)
    : arrayType(arrayTypeOf(object)) {
  switch (arrayType.access) {
  case ArrayType::None:
    raiseType(where() +
              ": expected an array (of numpy, torch, CuPy, JAX, or with "
              "__dlpack__ or the buffer protocol), got " +
              typeName(object));
  case ArrayType::Own:
    tensorOfRuntime = nb::cast<Tensor *>(object);
    view = tensorOfRuntime->use();
    return;
  case ArrayType::Exchange:
    takeExchange(object);
    return;
  case ArrayType::Buffer:
    takeBuffer(object, use, where);
    return;
  case ArrayType::DLPack:
    takeDLPack(object, use, where);
    return;
  }
}

Argument::Held::~Held() {
  if (buffer.obj)
    PyBuffer_Release(&buffer);
  if (versioned && versioned->deleter)
    versioned->deleter(versioned);
  if (unversioned && unversioned->deleter)
    unversioned->deleter(unversioned);
}

void Argument::takeExchange(nb::handle object) {
  const ExchangeApi &api = *arrayType.api;
  if (api.borrow) {
    if (api.borrow(object.ptr(), &view) != 0)
      throw nb::python_error();
    return;
  }
  if (api.exportOwning(object.ptr(), &held.versioned) != 0)
    throw nb::python_error();
  view = held.versioned->tensor;
}

//===----------------------------------------------------------------------===//
// The buffer protocol
//===----------------------------------------------------------------------===//

void Argument::takeBuffer(nb::handle object, Use use, const Where &where) {
  int flags = PyBUF_FORMAT | PyBUF_STRIDES;
  if (PyObject_GetBuffer(object.ptr(), &held.buffer, flags) != 0) {
    held.buffer.obj = nullptr;
    if (!arrayType.isNumpy)
      throw nb::python_error();
    // An element type that the protocol does not have, such as bfloat16.
    PyErr_Clear();
    takeNumpyType(object, use, where);
    return;
  }
  if (use == Written && held.buffer.readonly)
    refuse(where() + ": the array is read-only");
  view.data = held.buffer.buf;
  view.device = {kDLCPU, 0};
  view.ndim = held.buffer.ndim;
  view.shape = reinterpret_cast<int64_t *>(held.buffer.shape);
  auto item = static_cast<size_t>(held.buffer.itemsize);
  if (!parseFormat(held.buffer.format ? held.buffer.format : "B", item,
                   view.dtype))
    raiseType(where() + ": elements of format '" +
              (held.buffer.format ? held.buffer.format : "") +
              "' are none of an entry's; expected a type such as float32");
  // Null for dense memory of ctypes, though strides are asked for; for the
  // runtime null has the same meaning.
  if (!held.buffer.strides)
    return;
  int64_t *strides = few;
  if (held.buffer.ndim > fewDims) {
    many.resize(size_t(held.buffer.ndim));
    strides = many.data();
  }
  for (int i = 0; i < held.buffer.ndim; ++i) {
    if (held.buffer.strides[i] % held.buffer.itemsize)
      refuse(where() + ": the stride of dimension " + std::to_string(i) +
             " is " + std::to_string(held.buffer.strides[i]) +
             " bytes, no multiple of an element's " + std::to_string(item));
    strides[i] = held.buffer.strides[i] / held.buffer.itemsize;
  }
  view.strides = strides;
}

/// By way of unsigned integers of the same size.
void Argument::takeNumpyType(nb::handle object, Use use, const Where &where) {
  auto name = nb::cast<std::string>(nb::str(object.attr("dtype").attr("name")));
  const ElementType *type = findNumpyType(name);
  if (!type)
    raiseType(where() + ": elements of numpy's type " + name +
              " are none of an entry's; expected a type such as float32");
  keep = object.attr("view")(type->type.bits == 16 ? "u2" : "u1");
  takeBuffer(keep, use, where);
  view.dtype = type->type;
}

//===----------------------------------------------------------------------===//
// The method __dlpack__
//===----------------------------------------------------------------------===//

void Argument::takeDLPack(nb::handle object, Use use, const Where &where) {
  // Data of a GPU is to be ready for the legacy stream. The host has none.
  nb::dict options;
  nb::tuple device(object.attr("__dlpack_device__")());
  if (nb::cast<int>(nb::int_(device[0])) == kDLCUDA)
    options["stream"] = 1;
  nb::object method = object.attr("__dlpack__"), capsule;
  try {
    options["max_version"] = nb::make_tuple(1, 0);
    capsule = method(**options);
  } catch (nb::python_error &error) {
    // One of before DLPack 1.0 does not know the argument.
    if (!error.matches(PyExc_TypeError))
      throw;
    nb::dict older;
    if (options.contains("stream"))
      older["stream"] = options["stream"];
    capsule = method(**older);
  }
  PyObject *raw = capsule.ptr();
  if (PyCapsule_IsValid(raw, "dltensor_versioned")) {
    held.versioned = static_cast<VersionedTensor *>(
        PyCapsule_GetPointer(raw, "dltensor_versioned"));
    PyCapsule_SetName(raw, "used_dltensor_versioned");
    if (held.versioned->version.major != 1)
      raiseType(where() + ": the tensor is of DLPack version " +
                std::to_string(held.versioned->version.major) + ", expected 1");
    if (use == Written && (held.versioned->flags & VersionedTensor::readOnly))
      refuse(where() + ": the array is read-only");
    view = held.versioned->tensor;
  } else if (PyCapsule_IsValid(raw, "dltensor")) {
    held.unversioned =
        static_cast<DLManagedTensor *>(PyCapsule_GetPointer(raw, "dltensor"));
    PyCapsule_SetName(raw, "used_dltensor");
    view = held.unversioned->dl_tensor;
  } else {
    raiseType(where() + ": __dlpack__ of " + typeName(object) +
              " returned no DLPack capsule");
  }
}
