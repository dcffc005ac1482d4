//===- BindEntry.cpp - entries as Python has them -------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

namespace nb = nanobind;
using namespace moe::py;

/// As TensorType of moe_mlir.runtime.
static nb::tuple describe(const std::vector<moert_tensor_type> &types,
                          const std::vector<bool> &onHost) {
  nb::object makeType =
      nb::module_::import_("moe_mlir.runtime.artifact").attr("TensorType");
  nb::list all;
  for (const moert_tensor_type &type : types) {
    nb::list shape;
    for (int i = 0; i < type.ndim; ++i) {
      if (type.shape[i] < 0)
        shape.append(nb::none());
      else
        shape.append(type.shape[i]);
    }
    bool isOnHost = onHost[size_t(&type - types.data())];
    all.append(makeType(type.dtype_name, nb::tuple(shape), type.symmetric != 0,
                        isOnHost));
  }
  return nb::tuple(all);
}

static const char *const entryDoc = R"(A public function of a loaded artifact.

LoadedArtifact has them by name. Collective where the artifact communicates.)";

static const char *const callDoc = R"(Call the entry; results are new arrays.

Parameters
----------
*arguments : array
    One per argument, of its type and shape: arrays of numpy, torch, CuPy or JAX,
    or any object with __dlpack__ or the buffer protocol. On the host they may be
    strided. On a GPU they are dense, aligned to 16 bytes and on the group's
    device; those in host memory are uploaded, and the call then waits for its end.
    What the artifact wants in host memory (TensorType.host) has to be there, and is
    read before the call returns.
stream : int or stream, optional
    Handle of the CUDA stream to run on, such as torch.cuda.Stream.cuda_stream, or a
    stream of torch or CuPy. By default the current one of the first argument's
    framework.

Returns
-------
None, array or tuple of arrays
    Of the first argument's framework, allocated by it, where shapes are known
    before the call; else in memory of the runtime. What the framework cannot have
    is a Tensor. Symmetric results are Tensors, valid until the next call. Results
    in host memory are there when the call returns; CuPy's and JAX's are numpy's.

Raises
------
MoEError
    An argument of another type, shape, device or alignment; an error of this rank
    or of another one. On a GPU, errors of kernels are raised by Group.check,
    Group.synchronize and later calls.
TypeError, ValueError
    An argument is no array, or `stream` no stream.)";

static const char *const intoDoc =
    R"(Call the entry; results go to given arrays.

Nothing is allocated, and a CUDA graph may capture it.

Parameters
----------
outputs : sequence of arrays, or array
    One per result, of its type and shape, writable, dense and aligned like an
    argument, on the group's device, or in host memory where the artifact has
    them there. They overlap neither each other nor an argument. Symmetric results need memory of Group.empty.
*arguments, stream
    As for a call.

Raises
------
MoEError, TypeError, ValueError
    As for a call. After an error the contents of the outputs are unspecified.)";

void moe::py::bindEntry(nb::module_ &module) {
  nb::class_<Entry>(module, "Entry", entryDoc)
      .def_prop_ro("name", &Entry::name, "Name of the function.")
      .def_prop_ro(
          "arguments",
          [](const Entry &self) {
            (void)usableHandle(self.owner());
            return describe(self.arguments(), self.argumentsOnHost());
          },
          nb::sig("def arguments(self) -> "
                  "tuple[moe_mlir.runtime.artifact.TensorType, ...]"),
          "Types of the arguments.")
      .def_prop_ro(
          "results",
          [](const Entry &self) {
            (void)usableHandle(self.owner());
            return describe(self.results(), self.resultsOnHost());
          },
          nb::sig("def results(self) -> "
                  "tuple[moe_mlir.runtime.artifact.TensorType, ...]"),
          "Types of the results.")
      .def("__call__", &Entry::call, nb::arg("arguments"),
           nb::arg("stream") = nb::none(),
           nb::sig("def __call__(self, *arguments: typing.Any, stream: "
                   "typing.Any = None) -> typing.Any"),
           callDoc)
      .def("into", &Entry::into, nb::arg("outputs"), nb::arg("arguments"),
           nb::arg("stream") = nb::none(),
           nb::sig("def into(self, outputs: typing.Any, *arguments: "
                   "typing.Any, stream: typing.Any = None) -> None"),
           intoDoc)
      .def("__repr__", &Entry::signature);
}
