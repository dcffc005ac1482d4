#===- rank.py - one rank of the tests, a process -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""rank.py SOCKET INDEX: does what the tests tell it through a Unix socket.

A second connection serves the all-gather that a group needs before it shares
memory. Every answer is ("done", value), ("status", code, message) for an error
of the runtime, or ("broken", traceback).
"""

import ctypes
import os
import socket
import sys
import time
import traceback
from multiprocessing.connection import Connection

from cuda import CudaError, Driver
from moert import (
    CUDA, Context, Library, RuntimeError_, Tensor, host_tensor, num_bytes,
)


class Rank:
    def __init__(self, control, hub):
        self.control, self.hub = control, hub
        self.library = self.context = self.driver = None
        self.round = 0
        self.artifacts, self.entries, self.buffers = {}, {}, []
        self.symmetric_buffers = []
        self.stream = None

    # --- Groups ----------------------------------------------------------- #

    def allgather(self, data, seconds):
        self.round += 1
        self.hub.send(("gather", self.round, data))
        deadline = time.monotonic() + seconds
        while self.hub.poll(max(0.0, deadline - time.monotonic())):
            number, joined = self.hub.recv()
            if number == self.round:
                return joined
        self.hub.send(("cancel", self.round, b""))
        return None

    def join(self, library, rank, size, backend, timeout, reserve=0, device=-1):
        if self.library is None:
            self.library = Library(library)
        self.hub.send(("join", size, b""))
        self.context = Context(
            self.library, rank, size, self.allgather, backend, timeout, reserve,
            device,
        )
        if self.context.device[0] == CUDA and self.driver is None:
            self.driver = Driver()
            self.driver.use(self.context.device[1])
        return self.context.device_name

    def leave(self):
        if self.driver and self.stream is not None:
            self.driver.destroy_stream(self.stream)
            self.stream = None
        self.free_buffers()
        self.symmetric_buffers.clear()  # they end with the context
        self.artifacts.clear()
        self.entries.clear()
        if self.context:
            self.context.destroy()
            self.context = None

    def reset(self):
        self.context.reset()

    def failed_rank(self):
        return self.context.failed_rank()

    # --- Artifacts -------------------------------------------------------- #

    def load(self, key, path):
        self.artifacts[key] = self.context.load(path)

    def unload(self, key):
        self.entries = {k: v for k, v in self.entries.items() if k[0] != key}
        self.context.unload(self.artifacts.pop(key))

    def entry(self, key, name):
        if (key, name) not in self.entries:
            self.entries[key, name] = self.context.entry(
                self.artifacts[key], name
            )
        return self.entries[key, name]

    # --- Tensors ---------------------------------------------------------- #

    def free_buffers(self):
        for address in self.buffers:
            self.driver.free(address)
        self.buffers.clear()

    def device_tensor(self, dtype, shape, data):
        address = self.driver.allocate(len(data))
        self.buffers.append(address)
        tensor = Tensor(dtype, shape, address, self.context.device)
        self.driver.upload(address, data, self.own_stream())
        return tensor

    def symmetric_tensor(self, dtype, shape, data):
        """One in the symmetric heap. Collective."""
        address = self.symm_alloc(len(data))
        self.symmetric_buffers.append(address)
        tensor = Tensor(dtype, shape, address, self.context.device)
        self.context.write(tensor, data)
        return tensor

    def free_symmetric_buffers(self):
        """Collective, so not after an error: ranks that have failed meet no
        more, and the heap frees what is left."""
        while self.symmetric_buffers:
            self.symm_free(self.symmetric_buffers.pop())

    def make_tensors(self, entry, inputs, make):
        """Inputs of an entry, by `make` or, where it wants that, symmetric or on the host."""
        return [
            self.symmetric_tensor(*tensor) if is_symmetric
            else host_tensor(*tensor) if is_on_host else make(*tensor)
            for tensor, is_symmetric, is_on_host in zip(inputs, entry.is_symmetric, entry.is_on_host)
        ]

    def own_stream(self):
        if self.stream is None:
            self.stream = self.driver.stream()
        return self.stream

    def take(self, results):
        try:
            return [self.context.read_result(result) for result in results]
        finally:
            for result in results:
                result.free()

    # --- Calls ------------------------------------------------------------ #

    def call(self, key, name, inputs, times=1, on_device=False, drop=False):
        """Calls an entry; returns the results of the last call."""
        entry = self.entry(key, name)
        make = self.device_tensor if on_device else host_tensor
        tensors = self.make_tensors(entry, inputs, make)
        try:
            for i in range(times):
                results = entry.call(tensors)
                if i + 1 < times or drop:
                    for result in results:
                        result.free()
            answer = None if drop else self.take(results)
            self.free_symmetric_buffers()
            return answer
        finally:
            self.free_buffers()

    def launch(self, key, name, inputs, times=1):
        """The same through a stream of the caller."""
        entry, stream = self.entry(key, name), self.own_stream()
        tensors = self.make_tensors(entry, inputs, self.device_tensor)
        try:
            for i in range(times):
                results = entry.launch(tensors, stream)
                if i + 1 < times:
                    for result in results:
                        result.free()
            try:
                self.context.synchronize(stream)
            except BaseException:
                for result in results:
                    result.free()
                raise
            answer = self.take(results)
            self.free_symmetric_buffers()
            return answer
        finally:
            self.free_buffers()

    def outputs_for(self, entry, results):
        """Memory for results like these, which are freed. Collective."""
        outputs = []
        for result, is_symmetric in zip(results, entry.is_symmetric_result):
            make = self.symmetric_tensor if is_symmetric else self.device_tensor
            size = num_bytes(result.dtype, result.shape)
            outputs.append(make(result.dtype, result.shape, b"\xa5" * size))
            result.free()
        return outputs

    def capture(self, key, name, input_sets, replays, into=False):
        """Captures one launch; replays it with each set of inputs in turn. With
        `into` the results are in memory of the caller's."""
        entry, stream, driver = self.entry(key, name), self.own_stream(), self.driver
        tensors = [self.device_tensor(*tensor) for tensor in input_sets[0]]
        # The first launch does what a capture may not.
        results, outputs = entry.launch(tensors, stream), []
        self.context.synchronize(stream)
        if into:
            outputs, results = self.outputs_for(entry, results), []
        for result in results:
            result.free()
        results = []
        driver.begin_capture(stream)
        try:
            if into:
                entry.launch_into(tensors, outputs, stream)
            else:
                results = entry.launch(tensors, stream)
        finally:
            graph = driver.end_capture(stream)
        seen = []
        try:
            for inputs in input_sets:
                for tensor, (_, _, data) in zip(tensors, inputs):
                    driver.upload(tensor.dl.data, data, stream)
                try:
                    for _ in range(replays):
                        driver.launch_graph(graph, stream)
                    self.context.synchronize(stream)
                except RuntimeError_ as error:
                    seen.append(("status", error.code, error.message))
                    break
                read = [self.context.read_result(r) for r in results]
                read += [
                    (t.dtype, t.shape_, self.context.read(t.dl, t.bytes))
                    for t in outputs
                ]
                seen.append(("done", read))
            if into and all(step == "done" for step, *_ in seen):
                self.free_symmetric_buffers()
            return seen
        finally:
            driver.destroy_graph(graph)
            for result in results:
                result.free()
            self.free_buffers()

    # --- Memory ----------------------------------------------------------- #

    def symm_alloc(self, size):
        return self.context.symm_alloc(size).value

    def symm_free(self, address):
        self.context.symm_free(ctypes.c_void_p(address))

    def hog(self, leave):
        """Takes the device's memory but for about `leave` bytes."""
        size = self.driver.free_bytes() - leave
        while size >= 1 << 20:
            try:
                self.buffers.append(self.driver.allocate(size))
                size = self.driver.free_bytes() - leave
            except CudaError:
                size //= 2

    # --- Driver ----------------------------------------------------------- #

    def serve(self):
        self.control.send(("hello", os.getpid()))
        while True:
            try:
                name, args, kwargs = self.control.recv()
            except EOFError:
                return
            if name == "end":
                self.leave()
                self.control.send(("done", None))
                return
            begin = time.monotonic()
            try:
                answer = ("done", getattr(self, name)(*args, **kwargs))
            except RuntimeError_ as error:
                answer = ("status", error.code, error.message)
            except Exception:
                answer = ("broken", traceback.format_exc())
            self.control.send((*answer, time.monotonic() - begin))


def connect(path, hello):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    connection = Connection(connection.detach())
    connection.send(hello)
    return connection


def main():
    path, index = sys.argv[1], int(sys.argv[2])
    control = connect(path, ("control", index))
    hub = connect(path, ("hub", index))
    Rank(control, hub).serve()


if __name__ == "__main__":
    main()
