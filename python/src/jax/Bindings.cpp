//===- Bindings.cpp - what moe_mlir.jax needs of the extension ------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Exchange.h"
#include "Handlers.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace moe::py;

namespace {
/// An exchange under its number, as Python has it.
struct OpenExchange {
  std::shared_ptr<XlaExchange> exchange;
  int64_t number = 0;
};
} // namespace

template <typename Function> static nb::capsule capsuleOf(Function *function) {
  return nb::capsule(reinterpret_cast<void *>(function));
}

static nb::dict handlers() {
  XlaHandlers all = xlaHandlers();
  nb::dict cpu, type, result;
  cpu["instantiate"] = capsuleOf(all.instantiateOnCpu);
  cpu["execute"] = capsuleOf(all.executeOnCpu);
  type["type_id"] = nb::capsule(all.stateType);
  type["type_info"] = nb::capsule(all.stateInfo);
  result["cpu"] = cpu;
  result["CUDA"] = capsuleOf(all.executeOnCuda);
  result["state"] = type;
  return result;
}

void moe::py::bindXla(nb::module_ &module) {
  module.def("xla_handlers", handlers,
             nb::sig("def xla_handlers() -> dict[str, typing.Any]"),
             "Handlers of XLA's FFI by platform, and the type of their state.");
  nb::class_<OpenExchange>(module, "XlaExchange",
                           "Entries of an artifact on devices of XLA.")
      .def(
          "__init__",
          [](OpenExchange *self, const std::string &fingerprint,
             double seconds) {
            new (self) OpenExchange{XlaExchange::make(fingerprint, seconds)};
          },
          nb::arg("fingerprint"), nb::arg("seconds"))
      .def(
          "add_group",
          [](OpenExchange &self,
             const std::vector<std::pair<int, XlaExchange::Entries>> &ranks,
             bool areAllHere) { self.exchange->addGroup(ranks, areAllHere); },
          nb::arg("ranks"), nb::arg("are_all_here"))
      .def(
          "publish",
          [](OpenExchange &self, int64_t number) {
            XlaExchange::publish(self.exchange, number);
            self.number = number;
          },
          nb::arg("number"))
      .def("retract",
           [](OpenExchange &self) { XlaExchange::retract(self.number); })
      .def("is_idle",
           [](OpenExchange &self) { return self.exchange->isIdle(); })
      .def("num_ended",
           [](OpenExchange &self) { return self.exchange->numEnded(); })
      .def("reset_turns",
           [](OpenExchange &self) { self.exchange->resetTurns(); });
}
