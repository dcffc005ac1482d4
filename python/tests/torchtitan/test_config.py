# ===- test_config.py - by configuration, and what is refused -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""How a configuration takes the dispatcher, what its fields do, and what is refused."""

import gc
import importlib.metadata

import pytest
import titan
import torch
import torch.distributed as dist

import moe_mlir as moe
import moe_mlir.torchtitan

RANKS = 4
TARGET = "moe_mlir.torchtitan.token_dispatcher"


def dispatcher(cfg):
    return cfg.routed_experts.token_dispatcher


def test_version():
    """Signatures of torchtitan change; docs/Torchtitan.md names this version."""
    assert importlib.metadata.version("torchtitan") == "0.3.0"


def test_fields_are_those_of_the_dispatcher_that_is_replaced():
    cfg = titan.config("hybridep", non_blocking_capacity_factor=0.5, num_max_tokens_per_rank=32)
    found = dispatcher(titan.override(cfg, TARGET + '={"options": {"blocks": 4}}'))
    assert found == moe_mlir.torchtitan.TokenDispatcher.Config(
        num_experts=titan.EXPERTS, top_k=titan.TOP_K, hidden_dim=titan.DIM,
        num_max_tokens_per_rank=32, capacity_factor=0.5, options={"blocks": 4},
    )  # fmt: skip
    assert found.dtype == "bfloat16"


def test_fields_that_nothing_says():
    message = (
        "token_dispatcher: expected num_max_tokens_per_rank, which AllToAllTokenDispatcher.Config "
        "does not say, got hidden_dim"
    )
    with pytest.raises(ValueError, match=message):
        titan.override(titan.config(), TARGET + '={"hidden_dim": 16}')


def test_fields_that_there_are_none_of():
    message = r"expected fields of TokenDispatcher.Config \(num_experts, .*\), got max_tokens"
    with pytest.raises(ValueError, match=message):
        titan.ours('"max_tokens": 3')


def test_without_a_mesh_tokens_stay():
    """As with torchtitan's own dispatcher between ranks."""
    layer, expected = titan.ours().build(), titan.dense(1)
    layer.load_state_dict(expected.state_dict())
    x, grad_out = titan.inputs(0, 1, 5)
    for value, wanted in zip(
        titan.run(layer, x, grad_out), titan.run(expected, x, grad_out), strict=True
    ):
        assert torch.equal(value, wanted)


def test_values_out_of_range():
    with pytest.raises(ValueError, match="expected capacity_factor above 0 and at most 1, got 2"):
        titan.ours('"capacity_factor": 2').build()
    found = dispatcher(titan.ours('"pad_multiple": 8')).build()
    with pytest.raises(ValueError, match="expected expert parallelism with pad_multiple = 8"):
        found.wire_meshes(ep_mesh=None)
    with pytest.raises(ValueError, match=r"num_experts to be a multiple of the 3 ranks.*got 8"):
        found.plan(3)


def pads(group, multiple, tokens):
    """Groups of rows that are filled up give the same results."""
    dims = titan.mesh(RANKS, RANKS, "spmd_types")
    rank = dist.get_rank()
    x, grad_out = titan.inputs(rank, 8, tokens[rank])
    results, sizes = [], []
    for fields in ("", f', "pad_multiple": {multiple}'):
        layer = titan.parallel(titan.ours('"dtype": "float32"' + fields), dims, titan.dense(8))
        layer.routed_experts.inner_experts.register_forward_pre_hook(
            lambda module, given: sizes.append(given[1])
        )
        results.append(titan.run(layer, x, grad_out, dims))
    for value, expected in zip(*results, strict=True):
        titan.close(value, expected)
    own, padded = sizes
    assert (padded % multiple == 0).all() and ((padded - own) < multiple).all()
    assert (padded >= own).all()


def test_groups_are_filled_up(processes):
    processes(pads, 4, (5, 8, 4, 6))


def shares(group):
    """Layers of one configuration have one exchange, and others have their own."""
    dims = titan.mesh(RANKS, RANKS, "spmd_types")
    first, second, other = (
        dispatcher(titan.parallel(cfg, dims, titan.dense(1))).ep
        for cfg in (titan.ours(), titan.ours(), titan.ours('"dtype": "bfloat16"'))
    )
    assert first is second and first is not other
    # What a closed one is replaced by.
    first.group.close()
    third = dispatcher(titan.parallel(titan.ours(), dims, titan.dense(1))).ep
    assert third is not first and not third.group.is_closed


def test_layers_share_an_exchange(processes):
    processes(shares)


def is_left_over(group, tokens):
    """Ranks collect what nothing refers to at different times."""
    dims = titan.mesh(RANKS, RANKS, "spmd_types")
    rank = dist.get_rank()
    left = titan.parallel(titan.ours(), dims, titan.dense(2))
    if rank % 2:
        del left
        gc.collect()
    layer = titan.parallel(titan.ours(), dims, titan.dense(2))
    x, grad_out = titan.inputs(rank, 2, tokens[rank])
    assert titan.run(layer, x, grad_out, dims)[0].shape == x.shape
    if rank % 2 == 0:
        assert dispatcher(left).ep is not dispatcher(layer).ep


def test_exchange_that_some_ranks_have_collected(processes):
    processes(is_left_over, (5, 8, 4, 6))


def refuses(group, fields, message, tokens, change):
    """An error on all ranks that says what was expected and seen."""
    dims = titan.mesh(RANKS, RANKS, "spmd_types")
    layer = titan.parallel(titan.ours(fields), dims, titan.dense(9))
    found = dispatcher(layer)
    x = torch.ones((tokens, titan.DIM))
    ids = torch.arange(titan.TOP_K).expand(tokens, -1).contiguous()
    if change:
        x = getattr(x, change)()
    with pytest.raises(moe.MoEError, match=message):
        found.dispatch(x, torch.ones(ids.shape), ids, None)
        found.ep.group.check()
    found.ep.group.reset()


@pytest.mark.parametrize(
    ("message", "fields", "tokens", "change"),
    [
        ("bounded by max_tokens: expected at most 8, seen 9", "", 9, ""),
        ("argument 0 .*: expected element type f32, got bf16", "", 4, "bfloat16"),
        # All tokens go to the experts 0 to 2.
        ("rows.*expected at most", ', "capacity_factor": 0.25', 8, ""),
    ],
)
def test_tokens_that_do_not_fit(processes, message, fields, tokens, change):
    processes(refuses, '"dtype": "float32"' + fields, message, tokens, change)
