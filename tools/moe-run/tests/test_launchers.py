# ===- test_launchers.py - who started the ranks ----------------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What moe-run takes from the environment of launchers, by the variables that
they set. Only Open MPI has to be installed for tests of moe-run; the others
are stood in for by processes with their variables.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from job_runs import full_pipe, wait_until
from support import MOE_RUN, artifact, errors, without_launcher


def start(runner, variables, *args):
    env = {**without_launcher(runner.env), **variables}
    return subprocess.Popen(
        [MOE_RUN, "--timeout", "30", *map(str, args)], cwd=runner.folder,
        env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def prepare(runner, ranks):
    for rank in range(ranks):
        runner.save(f"x{rank}.npy", np.full((1, 4), rank, np.float32))
    return [artifact(f"exchange{ranks}"), "--entry", "rotate", "--in",
            "x{rank}.npy", "--out", "y{rank}.npy"]


# Variables of process R of N, with which two such processes are one job.
JOBS = {
    "Open MPI": {"OMPI_COMM_WORLD_RANK": "R", "OMPI_COMM_WORLD_SIZE": "N",
                 "OMPI_COMM_WORLD_LOCAL_SIZE": "N", "PMIX_NAMESPACE": "77",
                 "PMIX_RANK": "R"},
    "Open MPI inside of srun": {
        "OMPI_COMM_WORLD_RANK": "R", "OMPI_COMM_WORLD_SIZE": "N",
        "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"},
    "MPICH": {"PMI_RANK": "R", "PMI_SIZE": "N", "PMI_FD": "9",
              "MPI_LOCALNRANKS": "N", "MPI_LOCALRANKID": "R"},
    "MPICH without local ranks": {"PMI_RANK": "R", "PMI_SIZE": "N"},
    "MVAPICH": {"MV2_COMM_WORLD_RANK": "R", "MV2_COMM_WORLD_SIZE": "N",
                "MV2_COMM_WORLD_LOCAL_SIZE": "N"},
    "srun": {"SLURM_PROCID": "R", "SLURM_NTASKS": "N", "SLURM_JOB_ID": "5",
             "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "N",
             "SLURM_STEP_NUM_NODES": "1"},
    "srun in a larger allocation": {
        "SLURM_PROCID": "R", "SLURM_NTASKS": "64", "SLURM_JOB_ID": "5",
        "SLURM_STEP_ID": "1", "SLURM_STEP_NUM_TASKS": "N"},
    "srun of an older Slurm": {"SLURM_PROCID": "R", "SLURM_NTASKS": "N"},
    "srun from a batch script": {
        "SLURM_PROCID": "R", "SLURM_NTASKS": "N", "SLURM_STEP_ID": "0",
        "ENVIRONMENT": "BATCH"},
    "PMIx, with -n": {"PMIX_RANK": "R", "PMIX_NAMESPACE": "prte-1@1"},
}


@pytest.mark.parametrize("name", JOBS)
def test_processes_of_a_job_are_its_ranks(runner, name):
    args = prepare(runner, 2)
    if name.startswith("PMIx"):
        args += ["-n", 2]
    started = []
    for rank in (1, 0):
        variables = {key: value.replace("R", str(rank)).replace("N", "2")
                     if value in "RN" else value
                     for key, value in JOBS[name].items()}
        started.append(start(runner, variables, *args))
    for process in started:
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, "")
    assert runner.load("y0.npy")[0, 0] == 1
    assert runner.load("y1.npy")[0, 0] == 0


# Variables with which a process is alone, and starts the ranks.
ALONE = {
    "a shell of salloc": {
        "SLURM_JOB_ID": "5", "SLURM_NTASKS": "2", "SLURM_NNODES": "2",
        "SLURM_TASKS_PER_NODE": "1(x2)", "SLURM_JOB_NUM_NODES": "2"},
    "a shell of salloc that is a step": {
        "SLURM_JOB_ID": "5", "SLURM_NTASKS": "2", "SLURM_PROCID": "0",
        "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"},
    "a script of sbatch": {
        "SLURM_JOB_ID": "5", "SLURM_NTASKS": "2", "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0", "ENVIRONMENT": "BATCH"},
    "srun -n 1": {"SLURM_PROCID": "0", "SLURM_NTASKS": "1",
                  "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"},
    "mpiexec -n 1": {"PMI_RANK": "0", "PMI_SIZE": "1", "PMI_FD": "9"},
    "mpirun -n 1": {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1",
                    "PMIX_RANK": "0", "PMIX_NAMESPACE": "7"},
    "nothing": {},
}


@pytest.mark.parametrize("name", ALONE)
def test_a_process_alone_starts_all_ranks(runner, name):
    process = start(runner, ALONE[name], *prepare(runner, 2))
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    assert runner.outputs() == ["y0.npy", "y1.npy"]


WAY_OUT = "; --alone starts all ranks from this process"

REFUSED = {
    "rank without size": (
        {"OMPI_COMM_WORLD_RANK": "0"},
        "OMPI_COMM_WORLD_RANK is set, but OMPI_COMM_WORLD_SIZE is not, so "
        "this process cannot tell how many ranks there are" + WAY_OUT),
    "size without rank": (
        {"PMI_SIZE": "2"},
        "PMI_SIZE is set, but PMI_RANK is not, so this process cannot tell "
        "which rank it is" + WAY_OUT),
    "no number": (
        {"PMI_RANK": "first", "PMI_SIZE": "2"},
        "PMI_RANK is 'first', not a rank" + WAY_OUT),
    "rank beyond size": (
        {"PMI_RANK": "2", "PMI_SIZE": "2"},
        "PMI_RANK is 2, but PMI_SIZE is 2" + WAY_OUT),
    "PMI that does not tell": (
        {"PMI_PORT": "host:4000", "PMI_ID": "0"},
        "PMI_PORT is set, but PMI_RANK and PMI_SIZE are not: this launcher "
        "does not say which of its processes is which rank" + WAY_OUT),
    "PMIx without a size": (
        {"PMIX_RANK": "0", "PMIX_NAMESPACE": "7"},
        "PMIX_RANK does not say how many processes the job has: give -n, and "
        "as many"),
    "nodes that are no number": (
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2",
         "SLURM_STEP_NUM_NODES": "x"},
        "SLURM_STEP_NUM_NODES is 'x', not a number" + WAY_OUT),
    "torch's variables without torchrun": (
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0",
         "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29555"},
        "RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT make this process one of 2 "
        "of torch.distributed, but were not set by torchrun, which sets "
        "TORCHELASTIC_RUN_ID, too; start the processes by torchrun, or make the "
        "group from torch's process group (Group.from_torch in Python)" + WAY_OUT),
    "torchrun on several hosts": (
        {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2",
         "TORCHELASTIC_RUN_ID": "none"},
        "the torchrun job has 4 processes, but only 2 on this host "
        "(LOCAL_WORLD_SIZE); make the group from torch's process group "
        "(Group.from_torch in Python), or start the processes by mpirun or "
        "srun" + WAY_OUT),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_joined_is_refused(runner, name):
    variables, message = REFUSED[name]
    process = start(runner, variables, *prepare(runner, 2))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors(stderr) == [message]
    assert runner.outputs() == []


@pytest.mark.parametrize("name", REFUSED)
def test_alone_in_spite_of_a_launcher(runner, name):
    variables, _ = REFUSED[name]
    process = start(runner, variables, "--alone", *prepare(runner, 2))
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    assert runner.outputs() == ["y0.npy", "y1.npy"]


def test_jobs_side_by_side_do_not_meet(runner):
    # By what the launcher calls them.
    args = prepare(runner, 2)
    started = [start(runner, {"SLURM_PROCID": str(rank), "SLURM_STEP_ID": step,
                              "SLURM_STEP_NUM_TASKS": "2"},
                     *args[:-1], f"y{step}{{rank}}.npy")
               for rank in (0, 1) for step in "345"]
    for process in started:
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, "")
    assert len(runner.outputs()) == 6


# Where they decide what the ranks do together, which would then wait in vain.
DIFFERENT = {
    "flag": ([["--json"], []], "started without --json, but rank 0 with"),
    "flag of the other": ([[], ["--into"]], "started with --into, but rank 0 without"),
    "trace": ([[], ["--trace", "t.json"]], "started with --trace, but rank 0 without"),
    "value": ([["--bench", 3], ["--bench", 5]],
              "started with --bench 5, but rank 0 with --bench 3"),
    "warm-up": ([[], ["--warmup", 1]],
                "started with --warmup 1, but rank 0 with --warmup 0"),
    "no warm-up": ([["--bench", 5], ["--bench", 5, "--warmup", 0]],
                   "started with --warmup 0, but rank 0 with --warmup 2"),
    "files": ([[], ["--in", "x0.npy"]],
              "started with --in 2 times, but rank 0 with --in 1 time"),
}


@pytest.mark.parametrize("name", DIFFERENT)
@pytest.mark.parametrize("first", [0, 1])
def test_processes_with_different_options(runner, name, first):
    options, message = DIFFERENT[name]
    args = prepare(runner, 2)
    started = [start(runner, {"PMI_RANK": str(rank), "PMI_SIZE": "2"}, *args,
                     *options[rank]) for rank in (first, 1 - first)]
    found = []
    for process in started:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 2
        found += errors(stderr)
    assert found == [f"rank 1 was {message}; start all ranks with the same options"]
    assert runner.outputs() == []


@pytest.mark.parametrize("ranks", [(0, 1), (0, 2)])
def test_processes_of_jobs_of_different_sizes(runner, ranks):
    args = prepare(runner, 2)
    runner.save("x2.npy", np.zeros((1, 4), np.float32))
    started = [start(runner, {"PMI_RANK": str(rank), "PMI_SIZE": str(2 + i)}, *args)
               for i, rank in enumerate(ranks)]
    found = []
    for process in started:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 2
        found += errors(stderr)
    assert found == [
        f"rank {ranks[1]} was started in a job of 3 processes, but rank 0 in one of "
        "2; start all ranks by one command of the launcher"]


def test_processes_with_different_targets(runner):
    args = prepare(runner, 2)
    started = [start(runner, {"PMI_RANK": str(rank), "PMI_SIZE": "2"}, *args,
                     "--target", target)
               for rank, target in enumerate(["host", "cuda"])]
    found = []
    for process in started:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 2
        found += errors(stderr)
    assert found == ["rank 1 has the target 'cuda', but rank 0 'host'; start all "
                     "ranks with the same --target, and with copies of one file"]


# Paths may differ, what each rank writes, and what it needs for itself.
def test_processes_with_different_paths(runner):
    args = prepare(runner, 2)
    runner.save("other.npy", np.full((1, 4), 1, np.float32))
    started = [start(runner, {"PMI_RANK": str(rank), "PMI_SIZE": "2"},
                     *args[:3], "--in", path, *more)
               for rank, (path, more) in enumerate(
                   [("x0.npy", ["--timeout", 40, "--out", "y-{rank}.npy"]),
                    ("other.npy", [])])]
    for process in started:
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, "")
    assert runner.outputs() == ["y-0.npy"]


# What starts the two processes, and then waits.
LAUNCHER = """
import json, os, subprocess, sys, time
command, variables = json.loads(sys.argv[1])
for more in variables:
    subprocess.Popen(command, env={**os.environ, **more})
time.sleep(600)
"""


def test_launcher_ends_while_nobody_reads_the_report(runner):
    args = prepare(runner, 2)
    variables = [{"PMI_RANK": str(rank), "PMI_SIZE": "2"} for rank in range(2)]
    with full_pipe() as stdout:
        launcher = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER,
             json.dumps([[str(word) for word in runner.command(*args, "--json")],
                         variables])],
            cwd=runner.folder, env=without_launcher(runner.env), stdout=stdout,
            stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(runner.outputs()) == 2)
        launcher.kill()
        # Both have standard error until they end.
        _, stderr = launcher.communicate(timeout=60)
    assert errors(stderr) == [
        "the program that started the processes of this job has ended"]
    assert runner.outputs() == []


def test_two_processes_of_one_rank(runner):
    args = prepare(runner, 2)
    started = [start(runner, {"PMI_RANK": "0", "PMI_SIZE": "2"}, *args)
               for _ in range(2)]
    found = []
    for process in started:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1
        found += errors(stderr)
    assert found == ["rank 0: a second process says that it is rank 0 of the 2 "
                     "of this job (PMI_RANK)"]
