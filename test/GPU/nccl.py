#===- nccl.py - exchanges of messages by NCCL -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Runs the conformance suite of transports on groups whose ranks are processes:
on one host, and on one that stands for two. There NCCL uses sockets, since each
rank tells it of another host (NCCL_HOSTID), and so may ranks share a GPU."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import messages
from pool import Failure
from report import Skip

PROGRAM = "moe-runtime-cts-group"
SECONDS = 150  # of a job
TIMEOUT = 10  # of waits for other ranks

# A rank of a process group of torch, which lends its communicator or not.
TORCH = """
import os, sys
import torch
import torch.distributed as dist
from moe_mlir.runtime import Group
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
path, whose, hosts = sys.argv[1:]
device = torch.device("cuda", rank)
torch.cuda.set_device(device)
bound = {"device_id": device} if whose == "torch" else {}
dist.init_process_group("nccl", **bound)
with Group.from_torch(nccl=None if whose == "default" else whose) as group:
    assert len(group.hosts) == int(hosts), group.hosts
    zero = torch.zeros((), dtype=torch.int64, device=device)
    mine = torch.full((1000,), rank, dtype=torch.int8, device=device)
    for _ in range(3):
        every = group.load(path)["all_gather"](zero, zero, mine)
        torch.cuda.synchronize()
        every = torch.as_tensor(every).cpu().view(size, 1000)
        assert (every == torch.arange(size, dtype=torch.int8)[:, None]).all(), every
        dist.all_reduce(torch.ones(1, device=device))  # torch's is as it was
dist.destroy_process_group()
print("done")
"""


def find_library(settings):
    """The file of NCCL, "" for the loader's."""
    named = os.environ.get("MOE_NCCL_LIBRARY")
    if named:
        return named
    if settings.stand_in:
        return str(settings.bin.parent / "runtime" / "tests" / "nccl" / "libnccl.so.2")
    with contextlib.suppress(ImportError):
        found = importlib.util.find_spec("nvidia.nccl")
        for folder in (found.submodule_search_locations or []) if found else []:
            file = Path(folder) / "lib" / "libnccl.so.2"
            if file.is_file():
                return str(file)
    return ""


class Job:
    """Processes of a group, one per rank, as a launcher starts them."""

    def __init__(self, settings, command, environments):
        self.logs = [open(settings.work / f"nccl.{time.monotonic_ns()}.{r}.log", "w+b")
                     for r in range(len(environments))]
        self.processes = []
        shared = {
            "WORLD_SIZE": str(len(environments)),
            "TORCHELASTIC_RUN_ID": f"moe-test-{os.getpid()}-{time.monotonic_ns()}",
            "MOE_CTS_BACKEND": "cuda",
            "MOE_CTS_TIMEOUT": str(TIMEOUT),
            "MOE_TEST_ARTIFACT_DIR": str(settings.test_artifacts),
        }
        for rank, own in enumerate(environments):
            self.processes.append(subprocess.Popen(
                command, env={**os.environ, **shared, "RANK": str(rank), **own},
                stdin=subprocess.DEVNULL, stdout=self.logs[rank],
                stderr=subprocess.STDOUT,
            ))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for log in self.logs:
            log.close()

    def output(self, rank):
        self.logs[rank].seek(0)
        return self.logs[rank].read().decode(errors="replace")

    def tails(self):
        return "\n".join(f"rank {r}: {self.output(r)[-2500:]}"
                         for r in range(len(self.processes)))

    def finish(self):
        """Exit codes of all ranks."""
        deadline = time.monotonic() + SECONDS
        try:
            return [p.wait(max(0.1, deadline - time.monotonic()))
                    for p in self.processes]
        except subprocess.TimeoutExpired:
            raise Failure(f"did not end within {SECONDS} s\n{self.tails()}") from None

    def expect_success(self):
        codes = self.finish()
        if any(codes):
            raise Failure(f"exit codes {codes}\n{self.tails()}")


class Machine:
    """Where ranks run: on GPUs of this host, or of hosts that it stands for."""

    def __init__(self, settings, library):
        self.settings, self.library = settings, library

    def ranks(self, gpus, hosts=1, **more):
        """The environment of each rank; `gpus` has its GPU. With several hosts
        the first ranks are on the first one."""
        each = -(-len(gpus) // hosts)
        environments = []
        for rank, gpu in enumerate(gpus):
            own = {"MOE_CTS_DEVICE": str(gpu), "NCCL_DEBUG": "INFO", **more}
            if self.library:
                own["MOE_NCCL_LIBRARY"] = self.library
            if hosts > 1:
                host = f"host{rank // each}"
                own.update(messages.SOCKETS, NCCL_HOSTID=host, MOE_HOSTID=host)
            environments.append(own)
        return environments

    def job(self, *args, **kwargs):
        program = str(self.settings.bin / PROGRAM)
        return Job(self.settings, [program], self.ranks(*args, **kwargs))


def check_sockets(job, hosts):
    """Between hosts that are one, all else would be faster."""
    for rank in range(len(job.processes)):
        is_socket = "via NET/Socket" in job.output(rank)
        if is_socket != (hosts > 1):
            raise Failure(f"expected {'' if hosts > 1 else 'no '}'via NET/Socket' in "
                          f"NCCL's log\n{job.tails()}")


def check_conformance(machine, gpus, hosts):
    with machine.job(gpus, hosts) as job:
        job.expect_success()
        if not machine.settings.stand_in:
            check_sockets(job, hosts)


def check_killed(machine, gpus, hosts):
    """The others learn of it within the bound, and end in good order."""
    dies = len(gpus) - 1
    begin = time.monotonic()
    with machine.job(gpus, hosts, MOE_CTS_DIES=str(dies),
                     GTEST_FILTER="*:-*Case*") as job:
        codes = job.finish()
        seconds = time.monotonic() - begin
        if codes != [0] * dies + [-signal.SIGKILL]:
            raise Failure(f"exit codes {codes}\n{job.tails()}")
        for rank in range(dies):
            if not re.search(rf"error: .*rank {dies} ", job.output(rank)):
                raise Failure(f"no error names rank {dies}\n{job.tails()}")
        if seconds > 100:
            raise Failure(f"it took {seconds:.0f} s\n{job.tails()}")


def expect_error(machine, environments, regex):
    program = str(machine.settings.bin / PROGRAM)
    with Job(machine.settings, [program], environments) as job:
        codes = job.finish()
        for rank in range(len(environments)):
            if codes[rank] != 3 or not re.search(regex, job.output(rank)):
                raise Failure(f"exit codes {codes}, expected 3 and {regex}\n{job.tails()}")


def check_no_library(machine, gpus):
    environments = machine.ranks(gpus, 1 if gpus[0] != gpus[1] else 2)
    environments[1]["MOE_NCCL_LIBRARY"] = "/nowhere/libnccl.so.2"
    expect_error(machine, environments,
                 r"rank 1.*there is no NCCL: /nowhere/libnccl\.so\.2")


def check_shared_gpu(machine):
    expect_error(machine, machine.ranks([0, 0]), "ranks 0 and 1 share GPU 0 of host")


def check_torch(machine, whose, hosts):
    settings = machine.settings
    if settings.stand_in or importlib.util.find_spec("torch") is None:
        raise Skip("there is no torch with GPUs")
    path = str(settings.test_artifacts / "cuda" / f"messages{settings.gpus}.so")
    environments = machine.ranks(range(settings.gpus), hosts)
    for own in environments:
        own.pop("MOE_NCCL_LIBRARY", None)
        own.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29533", PYTHONDONTWRITEBYTECODE="1",
                   PYTHONPATH=str(settings.bin.parent / "python"))
    command = [sys.executable, "-c", TORCH, path, whose, str(hosts)]
    with Job(settings, command, environments) as job:
        job.expect_success()
        check_sockets(job, hosts)


def run(report, settings, store):
    if settings.target != "cuda":
        raise Skip("NCCL is for GPUs")
    if not os.access(settings.bin / PROGRAM, os.X_OK):
        raise Failure(f"{settings.bin / PROGRAM} is missing")
    machine = Machine(settings, find_library(settings))
    all_gpus = list(range(settings.gpus))
    groups = [("one_rank", [0], 1)]
    if settings.gpus > 1:
        groups += [("one_host", all_gpus, 1), ("two_hosts", all_gpus, 2),
                   ("two_hosts_that_share_gpus", [0, 1, 0, 1], 2)]
    else:
        groups += [("two_hosts_that_share_a_gpu", [0, 0], 2)]
    for name, gpus, hosts in groups:
        report.test(f"nccl/{name}", check_conformance, machine, gpus, hosts)
    several = all_gpus if settings.gpus > 1 else [0, 0]
    if settings.gpus > 1:
        report.test("nccl/killed_on_one_host", check_killed, machine, all_gpus, 1)
    report.test("nccl/killed_on_another_host", check_killed, machine, several, 2)
    report.test("nccl/no_library", check_no_library, machine, several)
    report.test("nccl/shared_gpu", check_shared_gpu, machine)
    for whose in ("torch", "own", "default") if settings.gpus > 1 else ():
        for hosts, suffix in (1, ""), (2, "_on_two_hosts"):
            report.test(f"nccl/communicator_of_torch_{whose}{suffix}", check_torch, machine,
                        whose, hosts)
    messages.run(report, settings, store, machine.library)
