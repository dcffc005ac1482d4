# ===- __init__.py - other projects' exchanges -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Exchanges of other projects that ours are compared with, where they are
installed. This file and __main__.py need neither torch nor a GPU."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

# A first use may compile kernels, which takes minutes on few cores.
PREPARE_SECONDS = 600
BENCHMARKS = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Peer:
    """A project: what it needs, what it delivers, and what of ours does the same."""

    # What to import, and the names in it that are used.
    module: str
    needs: tuple[str, ...]
    # Whose expected results its own are checked against.
    layout: str
    # Layouts of ours that its times are compared with.
    against: tuple[str, ...]
    # The layout whose rows are those that cross the links.
    sends: str
    # Whether its kernels are compiled before the ranks start.
    has_build: bool = False
    # More tokens than this are not measured.
    max_tokens: int | None = None


PEERS = {
    "flashinfer": Peer("flashinfer.moe_ep",
                       ("BootstrapConfig", "MoEEpCommParams", "NVLinkOneSidedConfig", "create_communication"),
                       layout="slab", against=("slab", "rank_major"), sends="slab", has_build=True),
    "deep_ep": Peer("deep_ep", ("ElasticBuffer", "topk_idx_t"), layout="expert_major", against=("expert_major",),
                    sends="rank_major"),
    # Its low-latency form receives into ranks x tokens rows for each expert.
    "nccl_ep": Peer("nccl.ep", ("Group", "GroupConfig", "Layout", "Tensor"), layout="expert_major",
                    against=("expert_major",), sends="expert_major", max_tokens=1024),
}


def why_not(kind, seconds=PREPARE_SECONDS, python=sys.executable):
    """None where the ranks of this machine can measure a peer, otherwise the
    reason. Asks a process of its own, so that nothing of the peer stays here."""
    process = subprocess.Popen([python, "-m", "gpu.peers", kind], cwd=BENCHMARKS, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        # With the compilers that it may have started.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"was not ready within {seconds} s"
    if process.returncode == 0:
        return None
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if len(lines) > 2:
        # Such as what a compiler said.
        sys.stderr.write(output)
    return lines[-1] if lines else f"its import ended with code {process.returncode}"


def missing(kinds):
    """The kinds that cannot be measured, with the reasons."""
    reasons = {kind: why_not(kind) for kind in PEERS if kind in kinds}
    return {kind: reason for kind, reason in reasons.items() if reason}
