//===- Error.cpp - errors of the runtime as exceptions --------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Error.h"

namespace nb = nanobind;
using namespace moe::py;

/// None for what is not known.
static nb::object rankOrNone(int32_t rank) {
  return rank < 0 ? nb::object(nb::none()) : nb::object(nb::int_(rank));
}

static nb::object textOrNone(const char *text) {
  if (!text || !*text)
    return nb::none();
  // Texts may have been cut in the middle of a character.
  return nb::steal(PyUnicode_DecodeUTF8(
      text, std::char_traits<char>::length(text), "replace"));
}

[[noreturn]] static void raise(const moert_error_info &info) {
  nb::object type =
      nb::module_::import_("moe_mlir.runtime.errors").attr("MoEError");
  nb::object message = textOrNone(info.message);
  if (message.is_none())
    message = nb::str(moert_code_name(info.code));
  nb::object error =
      type(int(info.code), message, nb::arg("cause") = int(info.cause),
           nb::arg("rank") = rankOrNone(info.rank),
           nb::arg("origin") = rankOrNone(info.origin),
           nb::arg("peer") = rankOrNone(info.peer),
           nb::arg("op") = textOrNone(info.op),
           nb::arg("location") = textOrNone(info.location),
           nb::arg("phase") = textOrNone(info.phase),
           nb::arg("what") = textOrNone(info.what),
           nb::arg("expected") = textOrNone(info.expected),
           nb::arg("seen") = textOrNone(info.seen));
  PyErr_SetObject(type.ptr(), error.ptr());
  throw nb::python_error();
}

void moe::py::raiseLastError() {
  moert_error_info info{};
  info.struct_size = sizeof(info);
  moert_last_error_info(&info);
  raise(info);
}

void moe::py::refuse(const std::string &message, int32_t rank,
                     const std::string &expected, const std::string &seen) {
  moert_error_info info{};
  info.code = info.cause = MOERT_INVALID_ARGUMENT;
  info.rank = info.origin = rank;
  info.peer = -1;
  info.expected = expected.c_str();
  info.seen = seen.c_str();
  info.message = message.c_str();
  raise(info);
}
