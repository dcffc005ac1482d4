//===- Stream.cpp - CUDA streams that Python passes in --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Stream.h"

#include <string>

namespace nb = nanobind;
using namespace moe::py;

static constexpr const char *expected =
    "stream: expected the handle of a CUDA stream, an integer such as "
    "torch.cuda.Stream.cuda_stream, or a stream of torch or CuPy, got ";

[[noreturn]] static void raise(PyObject *type, const std::string &got) {
  PyErr_SetString(type, (expected + got).c_str());
  throw nb::python_error();
}

intptr_t moe::py::streamNumber(nb::handle stream, int smallest) {
  nb::object number = nb::borrow(stream);
  // torch's streams have the one, and CuPy's the other.
  for (const char *name : {"cuda_stream", "ptr"})
    if (!PyIndex_Check(number.ptr()))
      number = nb::getattr(stream, name, number);
  if (!PyIndex_Check(number.ptr()) || PyBool_Check(number.ptr()))
    raise(PyExc_TypeError, nb::type_name(stream.type()).c_str());
  nb::object index = nb::steal(PyNumber_Index(number.ptr()));
  if (!index.is_valid())
    throw nb::python_error();
  // Pointers of user space fit into a signed number.
  int overflow = 0;
  long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow || value < smallest)
    raise(PyExc_ValueError, nb::str(index).c_str());
  return static_cast<intptr_t>(value);
}

void *moe::py::streamOf(nb::handle stream) {
  if (stream.is_none())
    return nullptr;
  return reinterpret_cast<void *>(streamNumber(stream));
}
