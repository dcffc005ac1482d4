# ===- rank.py - one rank of the benchmark -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A rank is a process with a GPU. It measures the units it is told to, all
ranks the same at the same time, and sends what it measured."""

import datetime
import gc
import os
import time
import sys
import traceback

import torch
import torch.distributed as dist

from . import cases, handwritten, runtime, sampling

# How long GPUs are held back before each sample, for the CPU to enqueue it.
START_DELAY_NS = 200_000
GROUP_SECONDS = 20
BARRIER_BYTES = 4096


class Rank:

    def __init__(self, rank, ranks, config, send):
        self.rank, self.ranks, self.config, self.send = rank, ranks, config, send
        self.device = torch.device("cuda", rank)
        torch.cuda.set_device(self.device)
        self.stream = torch.cuda.Stream()
        torch.cuda.set_stream(self.stream)
        dist.init_process_group("cpu:gloo,cuda:nccl", init_method=config["rendezvous"], rank=rank, world_size=ranks,
                                timeout=datetime.timedelta(seconds=GROUP_SECONDS))
        self.processors = torch.cuda.get_device_properties(self.device).multi_processor_count
        self.memory = self.open_memory()
        self.library = handwritten.Library(config["baselines"])
        self.groups = []
        self.start_group = self.group(self.memory.symmetric(BARRIER_BYTES))

    def describe(self):
        return {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda,
                "nccl": ".".join(map(str, torch.cuda.nccl.version())), "processors": self.processors}

    def open_memory(self):
        return runtime.Runtime(self.config["runtime"], self.rank, self.ranks, self.device, self.all_gather)

    def all_gather(self, data, _timeout=None):
        """`data` of all ranks; through the CPU."""
        mine = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        parts = [torch.empty_like(mine) for _ in range(self.ranks)]
        dist.all_gather(parts, mine)
        return [bytes(p.numpy()) for p in parts]

    def meet(self):
        torch.cuda.synchronize()
        dist.all_reduce(torch.zeros(1))

    def group(self, buffer):
        group = handwritten.Group(self.library, buffer, self.rank, self.ranks, self.device)
        self.groups.append(group)
        self.meet()
        return group

    def release(self, group):
        """Collective."""
        self.meet()
        self.groups.remove(group)
        self.memory.free(group.buffer)

    def finish(self):
        """Waits for the stream; raises what kernels recorded."""
        torch.cuda.synchronize()
        for group in self.groups:
            group.check_errors()
        self.memory.check_errors()

    def start_together(self):
        self.start_group.call("barrier", START_DELAY_NS)

    # --- measuring ---------------------------------------------------------- #

    def take(self, call, count, before=None, after=None):
        """Samples of `count` calls in a row, each between calls that are not timed."""
        enqueued = []
        for _ in range(count):
            if before:
                before()
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            held = time.perf_counter_ns()
            self.start_together()
            begin.record()
            start = time.perf_counter_ns()
            call()
            done = time.perf_counter_ns()
            end.record()
            # The GPUs were not held back before that.
            is_late = time.perf_counter_ns() - held > START_DELAY_NS
            enqueued.append((begin, end, (done - start) / 1e3, is_late))
            if after:
                after()
        self.finish()
        return [sampling.Sample(begin.elapsed_time(end) * 1e3, us, is_late) for begin, end, us, is_late in enqueued]

    def late_anywhere(self, flags):
        late = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(late, dist.ReduceOp.MAX)
        return late.bool().tolist()

    def eager(self, call, samples, warmup=3, waits_for_cpu=False, before=None, after=None):
        """Samples of calls, and how many of them were late. With `waits_for_cpu`
        the call itself waits for the CPU, and none is taken again. `before` and
        `after` are called around each, and not timed."""
        if waits_for_cpu:
            return self.take(call, warmup + samples, before, after)[warmup:], 0
        return sampling.take_samples(lambda count: self.take(call, count, before, after), self.late_anywhere, samples,
                                     warmup)

    def capture(self, call, calls):
        """`calls` calls as one CUDA graph."""
        graph = torch.cuda.CUDAGraph()
        self.finish()
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            for _ in range(calls):
                call()
        finally:
            graph.capture_end()
        return graph

    def replays(self, graph, samples, calls, warmup=2):
        """The same as `eager` for a graph of `calls` calls, per call."""
        taken, late = self.eager(graph.replay, samples, warmup)
        return [sampling.Sample(s.gpu_us / calls, s.enqueue_us / calls, s.is_late) for s in taken], late

    def graph(self, call, samples, calls):
        """The same per call, `calls` of them in one CUDA graph."""
        return self.replays(self.capture(call, calls), samples, calls)

    def record(self, key, measured, num_bytes, ok=None, note=None):
        samples, late = measured
        self.send(("record", key, {
            "times": [s.gpu_us for s in samples], "enqueue": [s.enqueue_us for s in samples], "late": late,
            "bytes": num_bytes, "ok": ok, "note": note}))

    def measure(self, key, call, num_bytes, ok=None, note=None, samples=15, graph_calls=0, waits_for_cpu=False):
        """Records eager calls and, with `graph_calls`, replays."""
        self.record({**key, "mode": "eager"}, self.eager(call, samples, waits_for_cpu=waits_for_cpu), num_bytes, ok,
                    note)
        if graph_calls:
            self.record({**key, "mode": "graph"}, self.graph(call, max(7, samples // 2), graph_calls), num_bytes, ok,
                        note)


def serve(rank, ranks, config, connection):
    """The process's main function."""
    serve_units(Rank, cases.run, rank, ranks, config, connection)


def serve_units(join, run, rank, ranks, config, connection):
    """Reads units until None comes, and runs each on the rank that `join` makes."""
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    try:
        this = join(rank, ranks, config, connection.send)
        connection.send(("ready", None, this.describe()))
        while (unit := connection.recv()) is not None:
            run(this, unit)
            this.meet()
            gc.collect()
            torch.cuda.empty_cache()
            connection.send(("done", None, None))
        dist.destroy_process_group()
    except Exception:  # pylint: disable=broad-except
        # The parent starts new ranks: after an error a GPU context or a group
        # may be of no use any more.
        print(traceback.format_exc(), file=sys.stderr, flush=True)
        reason = traceback.format_exception_only(*sys.exc_info()[:2])[-1].strip()
        connection.send(("error", None, f"rank {rank}: {reason}"))
        os._exit(1)
