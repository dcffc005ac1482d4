# ===- test_buffer.py - DeepEP V1's buffer, normal calls -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Buffer.dispatch and Buffer.combine against a reference that knows no exchange."""

import re

import pytest
import torch
import torch.distributed as dist
from buffer_checks import given, normal
from cases import Sizes, pair

from moe_mlir.compat import deep_ep

SIZES = Sizes(ranks=4)
PAIR = Sizes(ranks=2, experts=6)


def normal_on_four(group):
    buffer = deep_ep.Buffer(dist.group.WORLD, int(1e6), explicitly_destroy=True)
    normal(buffer, group.rank, SIZES, seeds=(1,))
    buffer.destroy()


def normal_on_two(group):
    process_group, rank = pair(group)
    normal(deep_ep.Buffer(process_group), rank, PAIR)


@pytest.mark.parametrize("main", [normal_on_four, normal_on_two], ids=["4 ranks", "2 ranks"])
def test_normal_calls(processes, main):
    """Layouts, rows, counts, handles, combines; with and without top-k, fp8, a CPU sync."""
    processes(main)


def tokens_of_all_sizes(group):
    """Ranks need not know how many tokens others have, and later calls may have more."""
    buffer = deep_ep.Buffer(dist.group.WORLD, explicitly_destroy=True)
    for tokens in (0, 3, 300 if group.rank == 1 else 2, 4):
        x = torch.full((tokens, 8), group.rank + 1.0, dtype=torch.bfloat16)
        idx = torch.arange(4).expand(tokens, 4).contiguous()
        layout = buffer.get_dispatch_layout(idx, 4)
        recv_x, _, _, counts, handle, _ = buffer.dispatch(
            x, **given(layout), topk_idx=idx, topk_weights=torch.ones(tokens, 4)
        )
        assert counts == [len(recv_x)] and (recv_x == recv_x[:, :1]).all()
        out, _, _ = buffer.combine(recv_x, handle)
        assert torch.equal(out, 4 * x)
    # Asynchronous calls, which on CPUs have ended when they return.
    got = buffer.dispatch(
        x, **given(layout), previous_event=buffer.capture(), async_finish=True,
        allocate_on_comm_stream=True,
    )  # fmt: skip
    with got[5]:
        pass
    buffer.combine(got[0], got[4], async_finish=True)[2].current_stream_wait()
    buffer.destroy()


def test_numbers_of_tokens(processes):
    processes(tokens_of_all_sizes)


def changed_layout(group):
    """All ranks learn that one has asked for what there is none of, and go on."""
    buffer = deep_ep.Buffer(dist.group.WORLD, explicitly_destroy=True)
    case = SIZES.case(group.rank)
    layout = buffer.get_dispatch_layout(case.idx, SIZES.experts)
    topk = {"topk_idx": case.idx, "topk_weights": case.weights}
    changed = dict(given(layout))
    if group.rank == 2:
        changed["is_token_in_rank"] = torch.ones_like(changed["is_token_in_rank"])
        changed["num_tokens_per_rank"] = changed["is_token_in_rank"].sum(0, dtype=torch.int32)
    with pytest.raises(NotImplementedError, match="choice of ranks other than that of get_disp"):
        buffer.dispatch(case.x, **changed, **topk)
    # Without top-k it is the choice alone that counts.
    recv_x, *_ = buffer.dispatch(case.x, **changed)
    assert len(recv_x) == sum(
        len(SIZES.case(r).x) if r == 2 else sum(s == r for s, _ in SIZES.mine(group.rank))
        for r in range(4)
    )
    buffer.destroy()


def test_layouts_that_were_changed(processes):
    processes(changed_layout)


class Communicator:
    """What mpi4py's communicators have of what is used."""

    def Get_rank(self):
        return dist.get_rank()

    def Get_size(self):
        return dist.get_world_size()

    def allgather(self, value):
        values = [None] * dist.get_world_size()
        dist.all_gather_object(values, value)
        return values


def of_a_communicator(group):
    comm = Communicator()
    buffer = deep_ep.Buffer(None, comm=comm, explicitly_destroy=True)
    assert buffer.group is comm and buffer.rank == group.rank and buffer.group_size == 4
    idx = torch.tensor([[3], [-1]])
    layout = buffer.get_dispatch_layout(idx, 4)
    recv_x, *_ = buffer.dispatch(torch.ones(2, 8, dtype=torch.bfloat16), **given(layout))
    assert len(recv_x) == (4 if group.rank == 3 else 0)
    buffer.destroy()


def test_ranks_of_mpi(processes):
    processes(of_a_communicator)


def wrong_calls(group):
    buffer = deep_ep.Buffer(dist.group.WORLD)
    with pytest.raises(RuntimeError, match="expected a buffer with explicitly_destroy = True"):
        buffer.destroy()
    case = SIZES.case(group.rank)
    layout = buffer.get_dispatch_layout(case.idx, SIZES.experts)
    for kind, message, options in (
        (TypeError, "expected topk_idx and topk_weights, or neither, got one",
         {"topk_idx": case.idx}),
        (TypeError, "expected num_tokens_per_rank, num_tokens_per_expert and is_token_in_rank",
         {"is_token_in_rank": None}),
        (TypeError, "expected topk_idx and topk_weights with num_worst_tokens",
         {"num_worst_tokens": 24}),
        (TypeError, "expected the handle that dispatch returned, got <class 'tuple'>",
         {"handle": ()}),
        (ValueError, "expected num_experts to be a multiple of the 4 ranks, got 6",
         {"num_tokens_per_expert": layout[2][:6]}),
        (ValueError, "expected 1 tokens, as in the dispatch of the handle, got ",
         {"is_token_in_rank": layout[3][:1]}),
        (TypeError, r"of deep_ep.topk_idx_t \(torch.int64\), got torch.int32",
         {"topk_idx": case.idx.int(), "topk_weights": case.weights}),
    ):  # fmt: skip
        with pytest.raises(kind) as caught:
            buffer.dispatch(case.x, **{**given(layout), **options})
        assert re.search(message, str(caught.value)), str(caught.value)
    with pytest.raises(TypeError, match="expected topk_idx or a handle, got neither"):
        buffer.get_dispatch_layout(None, SIZES.experts)
    recv_x, _, _, _, handle, _ = buffer.dispatch(case.x, **given(layout))
    for message, x, options in (
        ("expected x to have .* rows, as the dispatch returned, got 0", recv_x[:0], {}),
        (r"expected a bias of torch.bfloat16 of \(.*\), got torch.float32", recv_x,
         {"bias": case.x.float()}),
        ("expected one or two biases, got 3", recv_x, {"bias": (case.x,) * 3}),
    ):  # fmt: skip
        with pytest.raises(ValueError) as caught:
            buffer.combine(x, handle, **options)
        assert re.search(message, str(caught.value)), str(caught.value)


def test_wrong_calls(processes):
    """What a rank can see by itself is refused before anything is sent."""
    processes(wrong_calls)
