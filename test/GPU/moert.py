#===- moert.py - the C API of the runtime through ctypes -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What a rank of the tests needs of moe-runtime/Runtime.h, and no numpy.

Tensors outside are `(dtype, shape, bytes)`, the bytes dense and row-major.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_double, c_int32, c_int64,
    c_size_t, c_uint8, c_uint16, c_uint64, c_void_p,
)

CODES = (
    "OK", "INVALID_ARGUMENT", "IO", "ABI_MISMATCH", "UNAVAILABLE",
    "OUT_OF_MEMORY", "TIMEOUT", "PEER_FAILED", "COLLECTIVE_MISMATCH",
    "INVALID_EXPERT", "CAPACITY_EXCEEDED", "INVALID_COUNT", "INTERNAL",
    "ASSERTION_FAILED",
)
# DLPack's type code and the bits of an element.
DTYPES = {
    "f64": (2, 64), "f32": (2, 32), "f16": (2, 16), "bf16": (4, 16),
    "f8E4M3FN": (10, 8), "f8E5M2": (12, 8), "i64": (0, 64), "i32": (0, 32),
    "i16": (0, 16), "i8": (0, 8), "i1": (6, 8),
}
CPU, CUDA = 1, 2


class DLDevice(Structure):
    _fields_ = [("type", c_int32), ("id", c_int32)]


class DLDataType(Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class DLTensor(Structure):
    _fields_ = [
        ("data", c_void_p), ("device", DLDevice), ("ndim", c_int32),
        ("dtype", DLDataType), ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)), ("byte_offset", c_uint64),
    ]


class DLManagedTensor(Structure):
    pass


DLManagedTensor._fields_ = [
    ("tensor", DLTensor), ("manager", c_void_p),
    ("deleter", CFUNCTYPE(None, POINTER(DLManagedTensor))),
]
ALLGATHER = CFUNCTYPE(
    c_int32, c_void_p, c_void_p, c_size_t, c_void_p, c_double
)


class Bootstrap(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("rank", c_int32), ("size", c_int32),
        ("user", c_void_p), ("allgather", ALLGATHER),
    ]


class Options(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("timeout", c_double),
        ("reserve", c_size_t), ("backend", c_char_p), ("device", c_int32),
    ]


class TensorType(Structure):
    _fields_ = [
        ("dtype", DLDataType), ("name", c_char_p), ("ndim", c_int32),
        ("symmetric", c_int32), ("shape", POINTER(c_int64)),
    ]


class RuntimeError_(Exception):
    """A status that is not MOERT_OK."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def num_bytes(dtype, shape):
    size = DTYPES[dtype][1] // 8
    for extent in shape:
        size *= extent
    return size


class Tensor:
    """A DLTensor together with what it points to."""

    def __init__(self, dtype, shape, address, device=(CPU, 0), keep=None):
        self.dtype, self.shape_ = dtype, tuple(shape)
        code, bits = DTYPES[dtype]
        self.shape = (c_int64 * max(1, len(shape)))(*shape)
        self.keep = keep
        self.dl = DLTensor(
            address, DLDevice(*device), len(shape), DLDataType(code, bits, 1),
            ctypes.cast(self.shape, POINTER(c_int64)), None, 0,
        )

    @property
    def bytes(self):
        return num_bytes(self.dtype, self.shape_)


def host_tensor(dtype, shape, data) -> Tensor:
    # Sixteen bytes more than needed, to start at a multiple of 16.
    buffer = ctypes.create_string_buffer(len(data) + 16)
    address = (ctypes.addressof(buffer) + 15) & ~15
    ctypes.memmove(address, data, len(data))
    return Tensor(dtype, shape, address, keep=buffer)


class Library:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        for name, result, arguments in (
            ("moert_last_error", c_char_p, ()),
            ("moert_context_create", c_int32,
             (POINTER(Bootstrap), POINTER(Options), POINTER(c_void_p))),
            ("moert_context_destroy", None, (c_void_p,)),
            ("moert_context_device", DLDevice, (c_void_p,)),
            ("moert_context_device_name", c_char_p, (c_void_p,)),
            ("moert_context_failed_rank", c_int32, (c_void_p,)),
            ("moert_context_reset", c_int32, (c_void_p,)),
            ("moert_context_synchronize", c_int32, (c_void_p, c_void_p)),
            ("moert_context_check", c_int32, (c_void_p,)),
            ("moert_artifact_load", c_int32,
             (c_void_p, c_char_p, POINTER(c_void_p))),
            ("moert_artifact_unload", c_int32, (c_void_p,)),
            ("moert_artifact_entry", c_int32,
             (c_void_p, c_char_p, POINTER(c_void_p))),
            ("moert_entry_num_results", c_size_t, (c_void_p,)),
            ("moert_entry_num_args", c_size_t, (c_void_p,)),
            ("moert_entry_arg", c_int32,
             (c_void_p, c_size_t, POINTER(TensorType))),
            ("moert_entry_arg_device", c_int32,
             (c_void_p, c_size_t, POINTER(DLDevice))),
            ("moert_entry_result", c_int32,
             (c_void_p, c_size_t, POINTER(TensorType))),
            ("moert_entry_call", c_int32,
             (c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)),
            ("moert_entry_launch", c_int32,
             (c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)),
            ("moert_entry_launch_into", c_int32,
             (c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)),
            ("moert_tensor_copy_to_host", c_int32,
             (c_void_p, POINTER(DLTensor), c_void_p, c_size_t)),
            ("moert_tensor_copy_from_host", c_int32,
             (c_void_p, POINTER(DLTensor), c_void_p, c_size_t)),
            ("moert_symm_alloc", c_int32,
             (c_void_p, c_size_t, POINTER(c_void_p))),
            ("moert_symm_free", c_int32, (c_void_p, c_void_p)),
        ):
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments

    def check(self, code):
        if code:
            name = CODES[code] if code < len(CODES) else str(code)
            message = self.lib.moert_last_error()
            raise RuntimeError_(name, message.decode(errors="replace"))


class Result:
    """A tensor that an entry returned."""

    def __init__(self, managed, dtype):
        self.managed, self.dtype = managed, dtype

    @property
    def shape(self):
        dl = self.managed.contents.tensor
        return tuple(dl.shape[i] for i in range(dl.ndim))

    def free(self):
        self.managed.contents.deleter(self.managed)


class Entry:
    def __init__(self, context, handle):
        self.context, self.handle = context, handle
        self.lib = context.library.lib
        self.num_results = self.lib.moert_entry_num_results(handle)
        self.result_dtypes = []
        self.is_symmetric_result = []
        for i in range(self.num_results):
            of = TensorType()
            context.check(self.lib.moert_entry_result(handle, i, byref(of)))
            self.result_dtypes.append(of.name.decode())
            self.is_symmetric_result.append(bool(of.symmetric))
        # Of each argument, whether it has to be symmetric memory, and whether
        # host memory.
        self.is_symmetric, self.is_on_host = [], []
        for i in range(self.lib.moert_entry_num_args(handle)):
            of, where = TensorType(), DLDevice()
            context.check(self.lib.moert_entry_arg(handle, i, byref(of)))
            self.is_symmetric.append(bool(of.symmetric))
            context.check(self.lib.moert_entry_arg_device(handle, i, byref(where)))
            self.is_on_host.append(where.type == CPU)

    @staticmethod
    def _pointers(tensors):
        pointers = (POINTER(DLTensor) * max(1, len(tensors)))()
        for i, tensor in enumerate(tensors):
            pointers[i] = ctypes.pointer(tensor.dl)
        return pointers

    def _run(self, function, tensors, *more):
        inputs = self._pointers(tensors)
        outputs = (POINTER(DLManagedTensor) * max(1, self.num_results))()
        self.context.check(
            function(
                self.handle, inputs, len(tensors), outputs, self.num_results,
                *more,
            )
        )
        return [
            Result(outputs[i], self.result_dtypes[i])
            for i in range(self.num_results)
        ]

    def call(self, tensors):
        return self._run(self.lib.moert_entry_call, tensors)

    def launch(self, tensors, stream):
        return self._run(self.lib.moert_entry_launch, tensors, stream)

    def launch_into(self, tensors, outputs, stream):
        """With results in `outputs`, tensors of the caller's."""
        self.context.check(
            self.lib.moert_entry_launch_into(
                self.handle, self._pointers(tensors), len(tensors),
                self._pointers(outputs), len(outputs), stream,
            )
        )


class Context:
    """One rank of a group. `allgather(data, timeout)` gives the bytes of all
    ranks, or None."""

    def __init__(self, library, rank, size, allgather, backend, timeout,
                 reserve=0, device=-1):
        self.library = library

        def gather(_, data, count, out, seconds):
            try:
                joined = allgather(ctypes.string_at(data, count), seconds)
            except Exception:  # no exception crosses the C API
                return 1
            if joined is None:
                return 1
            ctypes.memmove(out, joined, len(joined))
            return 0

        self.gather = ALLGATHER(gather)
        bootstrap = Bootstrap(
            ctypes.sizeof(Bootstrap), rank, size, None, self.gather
        )
        options = Options(
            ctypes.sizeof(Options), timeout, reserve, backend.encode(), device
        )
        self.handle = c_void_p()
        self.check(
            library.lib.moert_context_create(
                byref(bootstrap), byref(options), byref(self.handle)
            )
        )
        where = library.lib.moert_context_device(self.handle)
        self.device = (where.type, where.id)

    def check(self, code):
        self.library.check(code)

    @property
    def device_name(self):
        return self.library.lib.moert_context_device_name(self.handle).decode()

    def destroy(self):
        self.library.lib.moert_context_destroy(self.handle)
        self.handle = None

    def reset(self):
        self.check(self.library.lib.moert_context_reset(self.handle))

    def synchronize(self, stream):
        self.check(
            self.library.lib.moert_context_synchronize(self.handle, stream)
        )

    def failed_rank(self):
        return self.library.lib.moert_context_failed_rank(self.handle)

    def load(self, path):
        artifact = c_void_p()
        self.check(
            self.library.lib.moert_artifact_load(
                self.handle, str(path).encode(), byref(artifact)
            )
        )
        return artifact

    def unload(self, artifact):
        self.check(self.library.lib.moert_artifact_unload(artifact))

    def entry(self, artifact, name):
        entry = c_void_p()
        self.check(
            self.library.lib.moert_artifact_entry(
                artifact, name.encode(), byref(entry)
            )
        )
        return Entry(self, entry)

    def symm_alloc(self, size):
        address = c_void_p()
        self.check(
            self.library.lib.moert_symm_alloc(self.handle, size, byref(address))
        )
        return address

    def symm_free(self, address):
        self.check(self.library.lib.moert_symm_free(self.handle, address))

    def read(self, dl, size) -> bytes:
        buffer = ctypes.create_string_buffer(max(1, size))
        self.check(
            self.library.lib.moert_tensor_copy_to_host(
                self.handle, byref(dl), buffer, size
            )
        )
        return buffer.raw[:size]

    def read_result(self, result):
        size = num_bytes(result.dtype, result.shape)
        dl = result.managed.contents.tensor
        return result.dtype, result.shape, self.read(dl, size)

    def write(self, tensor, data):
        self.check(
            self.library.lib.moert_tensor_copy_from_host(
                self.handle, byref(tensor.dl), data, len(data)
            )
        )
