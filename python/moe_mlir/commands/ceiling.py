# ===- ceiling.py - what memory and links can carry -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What copies alone reach, for comparison: of memory, or between GPUs."""

from __future__ import annotations

import ctypes
import statistics
import threading
import time

from . import driver

REPEATS = 7
HOST_BYTES = 64 << 20  # of each thread and repeat
GPU_BYTES = 256 << 20


def host(ranks: int, size: int) -> float:
    """GB/s that each of `ranks` threads copies when all copy at once.

    They copy `size` bytes again and again, so that what an exchange of that size
    finds in caches is there for the copies as well.
    """
    import numpy as np

    size = min(max(size, 4096), HOST_BYTES)
    copies = HOST_BYTES // size
    pairs = [(np.ones(size, np.uint8), np.zeros(size, np.uint8)) for _ in range(ranks)]
    gate = threading.Barrier(ranks)
    spans: list[list[tuple[float, float]]] = [[] for _ in range(ranks)]

    def copy(rank: int) -> None:
        source, target = pairs[rank]
        for _ in range(REPEATS):
            gate.wait(60)
            begin = time.perf_counter()
            for _ in range(copies):
                np.copyto(target, source)
            spans[rank].append((begin, time.perf_counter()))

    threads = [threading.Thread(target=copy, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = [
        max(end for _, end in round_) - min(begin for begin, _ in round_)
        for round_ in zip(*spans, strict=True)
    ]
    return float(copies * size / statistics.median(times) / 1e9)


def gpus(ranks: int) -> float:
    """GB/s that leave each GPU when each copies to the next one at once.

    Raises
    ------
    driver.DriverError
        A call of the driver fails.
    """
    cuda = driver.Driver()
    count = cuda.number("cuDeviceGetCount")
    places = [rank % count for rank in range(ranks)]
    contexts, buffers, streams = [], [], []
    for place in range(count):
        context = ctypes.c_void_p()
        device = cuda.number("cuDeviceGet", place)
        cuda.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        contexts.append(context)
    # A copy runs without it, but through the memory of the host.
    if hasattr(cuda.library, "cuCtxEnablePeerAccess"):
        for context in contexts:
            cuda.call("cuCtxSetCurrent", context)
            for other in contexts:
                if other.value != context.value:
                    cuda.library.cuCtxEnablePeerAccess(other, 0)
    try:
        for place in places:
            cuda.call("cuCtxSetCurrent", contexts[place])
            memory, stream = ctypes.c_uint64(), ctypes.c_void_p()
            cuda.call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(2 * GPU_BYTES))
            buffers.append((place, memory))
            cuda.call("cuStreamCreate", ctypes.byref(stream), 1)
            streams.append(stream)
        times = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            for rank, (place, memory) in enumerate(buffers):
                _, target = buffers[(rank + 1) % ranks]
                cuda.call("cuCtxSetCurrent", contexts[place])
                cuda.call(
                    "cuMemcpyAsync",
                    ctypes.c_uint64(target.value + GPU_BYTES),
                    memory,
                    ctypes.c_size_t(GPU_BYTES),
                    streams[rank],
                )
            for rank, (place, _) in enumerate(buffers):
                cuda.call("cuCtxSetCurrent", contexts[place])
                cuda.call("cuStreamSynchronize", streams[rank])
            times.append(time.perf_counter() - begin)
    finally:
        for place, memory in buffers:
            cuda.library.cuCtxSetCurrent(contexts[place])
            cuda.library.cuMemFree_v2(memory)
        for place in range(len(contexts)):
            cuda.library.cuDevicePrimaryCtxRelease_v2(cuda.number("cuDeviceGet", place))
    return GPU_BYTES / statistics.median(times) / 1e9
