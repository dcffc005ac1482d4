# ===- host_rank.py - a rank on the CPU -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A rank of the host target: to try benchmarks where there is no GPU. Its times say
nothing about GPUs."""

import datetime
import time

import torch
import torch.distributed as dist

from . import sampling
from .rank import GROUP_SECONDS, Rank


class HostRank(Rank):

    def __init__(self, rank, ranks, config, send):  # pylint: disable=super-init-not-called
        self.rank, self.ranks, self.config, self.send = rank, ranks, config, send
        self.device = torch.device("cpu")
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=config["rendezvous"], rank=rank, world_size=ranks,
                                timeout=datetime.timedelta(seconds=GROUP_SECONDS))

    def describe(self):
        return {"gpu": "none: target host", "torch": torch.__version__}

    def meet(self):
        dist.all_reduce(torch.zeros(1))

    def finish(self):
        pass

    def take(self, call, count, before=None, after=None):
        samples = []
        for _ in range(count):
            if before:
                before()
            self.meet()
            start = time.perf_counter_ns()
            call()
            us = (time.perf_counter_ns() - start) / 1e3
            samples.append(sampling.Sample(us, us, False))
            if after:
                after()
        return samples

    def capture(self, call, calls):
        return Repeated(call, calls)


class Repeated:
    """Calls in a row, in the place of a graph."""

    def __init__(self, call, calls):
        self.call, self.calls = call, calls

    def replay(self):
        for _ in range(self.calls):
            self.call()
