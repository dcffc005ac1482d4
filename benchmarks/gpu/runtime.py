# ===- runtime.py - the runtime through ctypes -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The C API of the runtime, as far as the benchmark needs it."""

import ctypes as c

import torch

from .abi import (ALLGATHER, Bootstrap, DLDataType, DLDevice, DLManagedTensor, DLTensor, Options, load_library)

TIMEOUT_SECONDS = 5.0
DEVICES = {"cpu": 1, "cuda": 2}  # kDLCPU, kDLCUDA
BACKENDS = {"cpu": b"host", "cuda": b"cuda"}
DTYPES = {torch.bfloat16: (4, 16), torch.float32: (2, 32), torch.int32: (0, 32)}


def dl_tensor(tensor):
    """A view of a dense torch tensor; keeps nothing alive but its own arrays."""
    code, bits = DTYPES[tensor.dtype]
    device = DLDevice(DEVICES[tensor.device.type], tensor.device.index or 0)
    view = DLTensor(tensor.data_ptr(), device, tensor.dim(), DLDataType(code, bits, 1))
    view.shape = (c.c_int64 * max(1, tensor.dim()))(*tensor.shape)
    view.strides = None
    view.byte_offset = 0
    return view


def bytes_at(address, count, device):
    """The memory at an address as a tensor of bytes."""
    if device.type == "cpu":
        return torch.frombuffer((c.c_uint8 * count).from_address(address), dtype=torch.uint8)

    class Memory:
        __cuda_array_interface__ = {"shape": (count,), "typestr": "|u1", "data": (address, False), "version": 3}

    return torch.as_tensor(Memory(), device=device)


capsule_of = c.pythonapi.PyCapsule_New
capsule_of.restype = c.py_object
capsule_of.argtypes = [c.c_void_p, c.c_char_p, c.c_void_p]


class Symmetric:
    """A symmetric buffer: its address on every rank, in this process."""

    def __init__(self, addresses, rank, size, device):
        self.addresses = addresses
        self.rank = rank
        self.bytes = bytes_at(addresses[rank], size, device)

    def view(self, offset, shape, dtype):
        count = torch.Size(shape).numel() * dtype.itemsize
        return self.bytes[offset:offset + count].view(dtype).view(shape)


class Runtime:
    """One group of ranks; with GPUs, or with the host where the device is the CPU."""

    def __init__(self, path, rank, ranks, device, allgather):
        """allgather(bytes, timeout) -> list of bytes in rank order."""
        self.lib = load_library(path)
        self.rank, self.ranks, self.device = rank, ranks, device
        for name, result, arguments in [
                ("moert_last_error", c.c_char_p, []),
                ("moert_context_create", c.c_int, [c.c_void_p, c.c_void_p, c.c_void_p]),
                ("moert_context_destroy", None, [c.c_void_p]),
                ("moert_context_check", c.c_int, [c.c_void_p]),
                ("moert_symm_alloc", c.c_int, [c.c_void_p, c.c_size_t, c.c_void_p]),
                ("moert_symm_free", c.c_int, [c.c_void_p, c.c_void_p]),
                ("moert_symm_peer", c.c_void_p, [c.c_void_p, c.c_void_p, c.c_int32]),
                ("moert_artifact_load", c.c_int, [c.c_void_p, c.c_char_p, c.c_void_p]),
                ("moert_artifact_unload", c.c_int, [c.c_void_p]),
                ("moert_artifact_entry", c.c_int, [c.c_void_p, c.c_char_p, c.c_void_p]),
                ("moert_entry_num_results", c.c_size_t, [c.c_void_p]),
                ("moert_entry_launch", c.c_int,
                 [c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p, c.c_size_t, c.c_void_p]),
                ("moert_entry_launch_into", c.c_int,
                 [c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p, c.c_size_t, c.c_void_p])]:
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments

        def gather(_, data, size, out, timeout):
            try:
                parts = allgather(c.string_at(data, size), timeout)
                c.memmove(out, b"".join(parts), size * ranks)
                return 0
            except Exception:  # pylint: disable=broad-except
                return 1

        self.callback = ALLGATHER(gather)
        bootstrap = Bootstrap(c.sizeof(Bootstrap), rank, ranks, None, self.callback)
        options = Options(c.sizeof(Options), TIMEOUT_SECONDS, 0, BACKENDS[device.type],
                          -1 if device.index is None else device.index)
        self.context = c.c_void_p()
        self.check(self.lib.moert_context_create(c.byref(bootstrap), c.byref(options), c.byref(self.context)))

    def check(self, code):
        if code:
            raise RuntimeError(f"runtime: {self.lib.moert_last_error().decode()} (code {code})")

    def check_errors(self):
        self.check(self.lib.moert_context_check(self.context))

    def symmetric(self, size):
        address = c.c_void_p()
        self.check(self.lib.moert_symm_alloc(self.context, size, c.byref(address)))
        peers = [self.lib.moert_symm_peer(self.context, address, r) for r in range(self.ranks)]
        return Symmetric(peers, self.rank, size, self.device)

    def free(self, buffer):
        address = buffer.addresses[self.rank]
        buffer.bytes = None
        self.check(self.lib.moert_symm_free(self.context, address))

    def load(self, path):
        artifact = c.c_void_p()
        self.check(self.lib.moert_artifact_load(self.context, str(path).encode(), c.byref(artifact)))
        return artifact

    def unload(self, artifact):
        self.check(self.lib.moert_artifact_unload(artifact))

    def entry(self, artifact, name):
        entry = c.c_void_p()
        self.check(self.lib.moert_artifact_entry(artifact, name.encode(), c.byref(entry)))
        return entry


def pointers_to(views):
    return (c.POINTER(DLTensor) * len(views))(*map(c.pointer, views))


def stream_of(runtime):
    return torch.cuda.current_stream().cuda_stream if runtime.device.type == "cuda" else None


class CallInto:
    """An entry with its inputs and outputs, to be launched on the current stream."""

    def __init__(self, runtime, entry, inputs, outputs):
        self.runtime, self.entry, self.tensors = runtime, entry, (inputs, outputs)
        self.inputs = pointers_to([dl_tensor(t) for t in inputs])
        self.outputs = pointers_to([dl_tensor(t) for t in outputs])

    def __call__(self):
        stream = stream_of(self.runtime)
        self.runtime.check(self.runtime.lib.moert_entry_launch_into(
            self.entry, self.inputs, len(self.inputs), self.outputs, len(self.outputs), stream))


class Call:
    """An entry with its inputs, to be launched on the current stream."""

    def __init__(self, runtime, entry, inputs):
        self.runtime, self.entry, self.tensors = runtime, entry, inputs
        self.views = [dl_tensor(t) for t in inputs]
        self.inputs = pointers_to(self.views)
        self.count = runtime.lib.moert_entry_num_results(entry)
        self.outputs = (c.POINTER(DLManagedTensor) * self.count)()

    def launch(self):
        stream = stream_of(self.runtime)
        self.runtime.check(self.runtime.lib.moert_entry_launch(
            self.entry, self.inputs, len(self.views), self.outputs, self.count, stream))

    def __call__(self):
        """Launches and gives the results back at once."""
        self.launch()
        for output in self.outputs:
            output.contents.deleter(output)

    def results(self):
        """Launches and returns the results as torch tensors."""
        self.launch()
        return [torch.utils.dlpack.from_dlpack(capsule_of(c.cast(o, c.c_void_p), b"dltensor", None))
                for o in self.outputs]
