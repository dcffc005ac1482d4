# ===- test_end.py - the end of a process group -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A closed group keeps nothing of torch, whose threads a process must not end beside."""

import subprocess
import sys

PROGRAM = """
import os, sys
import torch, torch.distributed as dist
import moe_mlir as moe

def threads_of_gloo():
    tasks = [f"/proc/self/task/{task}/comm" for task in os.listdir("/proc/self/task")]
    return sum("gloo" in open(task).read() for task in tasks)

dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
plan = moe.Exchange(num_experts=2, top_k=1, hidden=8, dtype="f32", max_tokens=4)
with moe.torch.ExpertParallel(plan) as ep:
    ep.dispatch(torch.ones(2, 8), torch.tensor([[0], [1]]).int(), torch.ones(2, 1))
    assert threads_of_gloo() > 0
dist.destroy_process_group()
assert threads_of_gloo() == 0
print("done", ep.group.is_closed)
"""


def test_a_closed_group_keeps_no_process_group(cache, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "store"],
        stdout=subprocess.PIPE, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done True\n")
