# ===- test_blocks.py - dispatches that keep where their rows lie -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""With `keep_blocks` all results are those without, and GPUs wait for fewer tables."""

import dataclasses
import os
import re
import subprocess
from pathlib import Path

import job
import numpy as np
import pytest
from reference import Layer

from moe_mlir.exchange import Exchange

RANKS = 3
USUAL = {"num_experts": 7, "top_k": 3, "hidden": 8, "max_tokens": 6, "dtype": "f32"}
FORMS = [
    ("rank_major", "sum", False),
    ("expert_major", "sum", True),
    ("slab", "none", False),
    ("expert_major", "none", False),
]
GRADIENTS = Exchange(**USUAL, gradients=True, padding="zero")


@pytest.fixture(params=["processes", "threads", "gpus"])
def load(compiler, tmp_path, request):
    """Binds a plan to ranks that exchange messages, by NCCL on GPUs.

    GPUs and NCCL are stand-ins, whose NCCL wants a GPU for each rank.
    """
    driver = os.environ.get("MOE_STANDIN_DRIVER_DIR", "")
    if request.param == "gpus" and not driver:
        pytest.skip("MOE_STANDIN_DRIVER_DIR names no driver that interprets PTX")

    def load(plan, **options):
        target = "cuda" if request.param == "gpus" else "host"
        how = {"transport": "messages", "schedule": "exact"} | options
        artifact = plan.build(RANKS, target, compiler=compiler, **how)
        if request.param == "threads":
            return plan.bind(job.ThreadLoaded(artifact))
        loaded = job.Loaded(artifact, tmp_path)
        if request.param == "gpus":
            folders = f"{driver}:{Path(driver).parent / 'nccl'}"
            loaded.environment |= {"LD_LIBRARY_PATH": folders, "MOE_STANDIN_GPUS": str(RANKS)}
        return plan.bind(loaded)

    return load


def results(ep, layer):
    """Those of all entries, by name."""
    plan = ep.plan
    recv = ep.dispatch(layer.x, layer.idx, layer.weights)
    handle = recv.handle
    y = [2 * rows for rows in recv.x]
    weighted = (recv.topk_weights,) if plan.combine_weights else ()
    out = ep.combine(y, handle, *weighted)
    grads = [np.ones_like(a) * (1 + rank) for rank, a in enumerate(out)]
    again, _ = ep.dispatch_again([a + 1 for a in layer.x], handle)
    grad_x, grad_weights = ep.dispatch_backward(y, handle, recv.topk_weights)
    grad_x_alone, _ = ep.dispatch_backward(y, handle)
    _, grad_weights_alone = ep.dispatch_backward(None, handle, recv.topk_weights)
    grad_y, grad_row_weights = ep.combine_backward(
        grads, handle, *([y, *weighted] if weighted else ())
    )
    found = {
        "recv_x": recv.x, "out": out, "again": again, "grad_x": grad_x,
        "grad_weights": grad_weights, "grad_x_alone": grad_x_alone,
        "grad_weights_alone": grad_weights_alone, "grad_y": grad_y,
        "grad_row_weights": grad_row_weights,
    }  # fmt: skip
    return recv, {name: arrays for name, arrays in found.items() if arrays is not None}


@pytest.mark.parametrize(("layout", "reduce", "weights"), FORMS)
def test_results_are_those_without(load, generator, layout, reduce, weights):
    plan = dataclasses.replace(GRADIENTS, layout=layout, reduce=reduce, combine_weights=weights)
    kept = dataclasses.replace(plan, keep_blocks=True)
    layer = Layer(plan, RANKS, generator, repeat=reduce == "sum")
    _, expected = results(load(plan), layer)
    recv, found = results(load(kept), layer)
    assert found.keys() == expected.keys()
    for name, arrays in found.items():
        for rank in range(RANKS):
            assert np.array_equal(arrays[rank], expected[name][rank]), (name, rank)
    groups = plan.local_experts(RANKS) if plan.is_expert_major else 1
    for rank in range(RANKS):
        assert recv.handle.peer_blocks[rank].shape == (2, RANKS, groups, 2)
        sent, received = recv.handle.peer_blocks[rank][..., 1].sum(axis=-1)
        assert np.array_equal(sent, recv.tokens_to_rank[rank])
        assert np.array_equal(received, recv.tokens_from_rank[rank])
        assert recv.handle.peer_rows[rank].shape == (4, RANKS)


def test_arrays_of_an_earlier_call_are_written_to(load, generator):
    plan = Exchange(**{**USUAL, "max_tokens": None}, tokens=5, keep_blocks=True)
    ep = load(plan)
    first, second = (Layer(plan, RANKS, generator) for _ in range(2))
    want = ep.dispatch(second.x, second.idx, second.weights)
    recv = ep.dispatch(first.x, first.idx, first.weights)
    again = ep.dispatch(second.x, second.idx, second.weights, out=recv)
    assert again.handle.peer_rows is recv.handle.peer_rows
    sums, expected = (ep.combine(r.x, r.handle) for r in (again, want))
    for rank in range(RANKS):
        for name in ("peer_blocks", "peer_rows"):
            assert np.array_equal(
                getattr(again.handle, name)[rank], getattr(want.handle, name)[rank]
            )
        assert np.array_equal(sums[rank], expected[rank])


def test_handles_without_blocks_are_refused(load, generator):
    plan = Exchange(**USUAL)
    layer = Layer(plan, RANKS, generator)
    recv = load(plan).dispatch(layer.x, layer.idx, layer.weights)
    kept = load(dataclasses.replace(plan, keep_blocks=True))
    with pytest.raises(TypeError, match="a dispatch whose plan has keep_blocks = True, got one"):
        kept.combine(recv.x, recv.handle)


@pytest.mark.parametrize(("layout", "reduce", "weights"), FORMS)
def test_only_the_dispatch_reads_a_table(tmp_path, layout, reduce, weights):
    """And gradients that slots of ranks are sent by, whose rows are other ones."""
    plan = dataclasses.replace(
        GRADIENTS, layout=layout, reduce=reduce, combine_weights=weights, keep_blocks=True
    )

    def reading(plan):
        source = tmp_path / "module.mlir"
        source.write_text(plan.mlir(RANKS))
        options = ("--target=nccl", "--schedule=exact", "--emit=coll")
        text = subprocess.run(
            [job.tool("moe-compile"), source, *options],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        functions = re.split(r"func\.func (?:private )?@", text)[1:]
        return {f[: f.index("(")] for f in functions if "coll.read" in f}

    apart = {"combine_backward"} if reduce == "none" and layout != "expert_major" else set()
    assert reading(plan) == {"dispatch"} | apart
    # Ops that are equal share a function, which has a name of its own.
    without = reading(dataclasses.replace(plan, keep_blocks=False)) - {"dispatch"}
    assert any("combine" in name for name in without), without
    assert len(without) > 1, without


def test_peer_rows_are_in_memory_of_the_host(compiler):
    plan = Exchange(**USUAL, keep_blocks=True, gradients=True)
    for target in ("host", "cuda"):
        artifact = plan.build(2, target, compiler=compiler)
        for entry in artifact.manifest["entries"]:
            signed = plan.signature(entry["name"], 2)
            for specs, found in (
                (signed.arguments, entry["args"]),
                (signed.results, entry["results"]),
            ):
                names = {s.name for s, f in zip(specs, found, strict=True) if f.get("host")}
                expected = {s.name for s in specs if s.name == "peer_rows"}
                assert names == (expected if target == "cuda" else set())
