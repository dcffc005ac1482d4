#===- cuda.py - the CUDA driver through ctypes -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Device memory, streams and graphs for the tests: what the caller of a
captured launch brings along. Needs no CUDA toolkit."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p

NON_BLOCKING = 1
CAPTURE_THREAD_LOCAL = 1


class CudaError(Exception):
    pass


class Driver:
    def __init__(self):
        try:
            self.lib = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError(f"no CUDA driver: {error}") from None
        self.call("cuInit", c_uint(0))

    def call(self, name, *args):
        code = getattr(self.lib, name)(*args)
        if code:
            text = c_char_p()
            self.lib.cuGetErrorString(code, byref(text))
            what = text.value.decode() if text.value else "unknown error"
            raise CudaError(f"{name}: {what} ({code})")

    def version(self):
        version = c_int()
        self.call("cuDriverGetVersion", byref(version))
        return f"{version.value // 1000}.{version.value % 1000 // 10}"

    def num_devices(self):
        count = c_int()
        self.call("cuDeviceGetCount", byref(count))
        return count.value

    def name(self, ordinal):
        device, buffer = c_int(), ctypes.create_string_buffer(100)
        self.call("cuDeviceGet", byref(device), c_int(ordinal))
        self.call("cuDeviceGetName", buffer, c_int(100), device)
        return buffer.value.decode()

    def capability(self, ordinal):
        """The major number of its compute capability."""
        device, major = c_int(), c_int()
        self.call("cuDeviceGet", byref(device), c_int(ordinal))
        self.call("cuDeviceGetAttribute", byref(major), c_int(75), device)
        return major.value

    def reaches(self, ordinal, peer):
        can = c_int()
        self.call("cuDeviceCanAccessPeer", byref(can), c_int(ordinal), c_int(peer))
        return bool(can.value)

    def use(self, ordinal):
        """Makes the device's primary context current to this thread."""
        device, context = c_int(), c_void_p()
        self.call("cuDeviceGet", byref(device), c_int(ordinal))
        self.call("cuDevicePrimaryCtxRetain", byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def allocate(self, size):
        address = c_uint64()
        self.call("cuMemAlloc_v2", byref(address), c_size_t(max(16, size)))
        return address.value

    def free(self, address):
        self.call("cuMemFree_v2", c_uint64(address))

    def free_bytes(self):
        free, total = c_size_t(), c_size_t()
        self.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    def stream(self):
        stream = c_void_p()
        self.call("cuStreamCreate", byref(stream), c_uint(NON_BLOCKING))
        return stream

    def destroy_stream(self, stream):
        self.call("cuStreamDestroy_v2", stream)

    def upload(self, address, data, stream):
        """Ordered by the stream; `data` is not used after the return."""
        if data:
            self.call(
                "cuMemcpyHtoDAsync_v2", c_uint64(address), data,
                c_size_t(len(data)), stream,
            )
            self.call("cuStreamSynchronize", stream)

    def begin_capture(self, stream):
        self.call("cuStreamBeginCapture_v2", stream, c_int(CAPTURE_THREAD_LOCAL))

    def end_capture(self, stream):
        graph, executable = c_void_p(), c_void_p()
        self.call("cuStreamEndCapture", stream, byref(graph))
        try:
            self.call(
                "cuGraphInstantiateWithFlags", byref(executable), graph,
                c_uint64(0),
            )
        finally:
            self.call("cuGraphDestroy", graph)
        return executable

    def count_captured(self, stream):
        """Ends a capture: how many kernels, copies and the like it has."""
        graph, count = c_void_p(), c_size_t()
        self.call("cuStreamEndCapture", stream, byref(graph))
        try:
            self.call("cuGraphGetNodes", graph, c_void_p(), byref(count))
        finally:
            self.call("cuGraphDestroy", graph)
        return count.value

    def launch_graph(self, executable, stream):
        self.call("cuGraphLaunch", executable, stream)

    def destroy_graph(self, executable):
        self.call("cuGraphExecDestroy", executable)
