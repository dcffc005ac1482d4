# ===- test_interface.py - names, defaults, and what is missing -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The interface is DeepEP's, as recorded; what there is none of says so."""

import inspect

import pytest
import recorded
import torch
import torch.distributed as dist
from cases import Sizes, elastic

import moe_mlir
from moe_mlir.compat import deep_ep

SIZES = Sizes(ranks=4)


def parameters(function):
    """Names and defaults, in order, without self."""
    return {
        name: recorded.REQUIRED if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (deep_ep.ElasticBuffer, recorded.ELASTIC),
        (deep_ep.Buffer, recorded.BUFFER),
        (deep_ep.EventOverlap, recorded.EVENT_OVERLAP),
        (deep_ep.Config, {"__init__": recorded.CONFIG}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_signatures(kind, expected):
    for name, signature in expected.items():
        found = parameters(getattr(kind, name))
        assert list(found.items()) == list(signature.items()), name


def test_nothing_is_left_out():
    """Each public method is recorded, so that a new one is not forgotten."""
    for kind, have, lack in (
        (deep_ep.ElasticBuffer, recorded.ELASTIC, recorded.ELASTIC_MISSING),
        (deep_ep.Buffer, recorded.BUFFER, recorded.BUFFER_MISSING),
    ):
        public = {name for name in dir(kind) if not name.startswith("_")}
        ours = {"use_artifacts", "num_sms"}
        assert public - ours == {*have, *lack} - {"__init__"}


def test_names():
    assert set(deep_ep.__all__) == set(recorded.NAMES)
    assert deep_ep.__version__ == recorded.VERSION and deep_ep.topk_idx_t == torch.int64
    from moe_mlir.compat.deep_ep.utils import EventHandle, EventOverlap

    assert EventHandle is deep_ep.EventHandle and EventOverlap is deep_ep.EventOverlap
    assert moe_mlir.compat.deep_ep is deep_ep


@pytest.mark.parametrize(
    ("kind", "name"),
    [(deep_ep.ElasticBuffer, name) for name in recorded.ELASTIC_MISSING]
    + [(deep_ep.Buffer, name) for name in recorded.BUFFER_MISSING],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_missing_methods(kind, name):
    with pytest.raises(NotImplementedError, match=f"{name}: moe-mlir has no "):
        getattr(object.__new__(kind), name)(1, a=2)


def test_missing_options():
    buffer = object.__new__(deep_ep.Buffer)
    for word, call in (
        ("rank masks", lambda: deep_ep.Buffer(None, enable_shrink=True)),
        ("buffers in the memory of CPUs", lambda: deep_ep.ElasticBuffer(None, num_cpu_bytes=1)),
        ("LogFMT rows", lambda: buffer.low_latency_combine(*[None] * 4, use_logfmt=True)),
        ("statistics of waits",
         lambda: buffer.low_latency_combine(*[None] * 4, combine_wait_recv_cost_stats=1)),
        ("statistics of waits",
         lambda: buffer.low_latency_dispatch(*[None] * 4, dispatch_wait_recv_cost_stats=1)),
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match=f"moe-mlir has no {word}"):
            call()


def test_configurations():
    assert deep_ep.Buffer.is_sm90_compiled() is True
    before = deep_ep.Buffer.num_sms
    assert before == 20
    try:
        deep_ep.Buffer.set_num_sms(24)
        assert deep_ep.Buffer.get_dispatch_config(8).num_sms == 24
        assert deep_ep.Buffer.get_combine_config(16).num_sms == 24
    finally:
        deep_ep.Buffer.set_num_sms(before)
    with pytest.raises(ValueError, match="expected an even number, got 3"):
        deep_ep.Buffer.set_num_sms(3)
    config = deep_ep.Config(24, 8, 256)
    assert config.get_nvl_buffer_size_hint(100, 2) == 51200
    assert config.get_rdma_buffer_size_hint(100, 2) == 0
    with pytest.raises(ValueError, match="num_max_nvl_chunked_recv_tokens, got 8 and 8"):
        deep_ep.Config(24, 8, 8)
    assert deep_ep.Buffer.get_low_latency_rdma_size_hint(2, 128, 4, 8) == 2 * 8 * 128 * 4


def attributes(group):
    buffer = elastic(dist.group.WORLD, SIZES)
    for name in recorded.ELASTIC_ATTRIBUTES:
        assert hasattr(buffer, name), name
    assert (buffer.rank_idx, buffer.num_ranks) == (group.rank, 4)
    assert buffer.get_logical_domain_size() == buffer.get_physical_domain_size() == (1, 4)
    assert deep_ep.get_physical_domain_size(dist.group.WORLD) == (1, 4)
    assert deep_ep.get_logical_domain_size(group) == (1, 4)
    hint = deep_ep.ElasticBuffer.get_buffer_size_hint(dist.group.WORLD, 128, 7168)
    assert hint % (2 << 20) == 0 and hint >= 4 * 128 * 7168 * 4
    assert 4 <= buffer.get_theoretical_num_sms(8, 3) <= 64
    assert buffer.get_theoretical_num_qps(16) <= buffer.num_allocated_qps
    buffer.get_comm_stream()
    case = SIZES.case(group.rank)
    *_, handle, event = buffer.dispatch(case.x, case.idx, num_experts=SIZES.experts)
    for name in recorded.HANDLE_ATTRIBUTES:
        assert hasattr(handle, name), name
    assert isinstance(handle, deep_ep.EPHandle) and isinstance(event, deep_ep.EventOverlap)
    assert handle.dst_buffer_slot_idx.shape == case.idx.shape
    old = deep_ep.Buffer(group)
    for name in recorded.BUFFER_ATTRIBUTES:
        assert hasattr(old, name), name


def test_attributes(processes):
    processes(attributes)


def wrong_calls(group):
    buffer = elastic(dist.group.WORLD, SIZES)
    case = SIZES.case(group.rank)
    call = {"x": case.x, "topk_idx": case.idx, "num_experts": SIZES.experts}
    *_, handle, _ = buffer.dispatch(**call)
    again = {"x": case.x, "handle": handle}
    for kind, message, options in (
        (TypeError, "expected topk_idx or a handle, got neither", {**call, "topk_idx": None}),
        (TypeError, "expected num_experts or a handle, got neither", {**call, "num_experts": None}),
        (ValueError, "to be a multiple of the 4 ranks, got 6", {**call, "num_experts": 6}),
        (TypeError, r"\(torch.int64\), got torch.int32", {**call, "topk_idx": case.idx.int()}),
        (ValueError, "at most num_max_tokens_per_rank = 1 tokens",
         {**call, "num_max_tokens_per_rank": 1}),
        (ValueError, "expected scales of float32 or int32", {**call, "x": (case.x, case.x)}),
        (ValueError, "expected do_expand with do_zero_padding", {**call, "do_zero_padding": True}),
        (TypeError, "as previous_event, got 3", {**call, "previous_event": 3}),
        (ValueError, "expected no topk_idx with a handle", {**again, "topk_idx": case.idx}),
        (ValueError, "expected no do_cpu_sync with a handle", {**again, "do_cpu_sync": True}),
        (ValueError, "expected do_expand = False", {**again, "do_expand": True}),
        (ValueError, "expected num_experts = 8, as in", {**again, "num_experts": 4}),
        (ValueError, "expected expert_alignment = 1, as", {**again, "expert_alignment": 2}),
        (ValueError, "expected . tokens, as in the dispatch", {**again, "x": case.x[:1]}),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            buffer.dispatch(**options)
    with pytest.raises(TypeError, match="expected the handle that dispatch returned"):
        buffer.combine(case.x, None)
    with pytest.raises(ValueError, match="expected topk_weights to have"):
        x = torch.zeros(handle.num_recv_tokens, SIZES.hidden, dtype=torch.bfloat16)
        buffer.combine(x, handle, torch.zeros(handle.num_recv_tokens + 1, SIZES.top_k))


def test_wrong_calls(processes):
    """What a rank can see by itself is refused before anything is sent."""
    processes(wrong_calls)


def an_id_out_of_range(group):
    buffer = elastic(dist.group.WORLD, SIZES, num_gpu_timeout_secs=20)
    case = SIZES.case(group.rank)
    idx = torch.full_like(case.idx, 99) if group.rank == 1 else case.idx
    with pytest.raises(moe_mlir.MoEError, match="expert id of token 0, slot 0"):
        buffer.dispatch(case.x, idx, num_experts=SIZES.experts)
    buffer.destroy()


def test_errors_are_told_to_all_ranks(processes):
    processes(an_id_out_of_range)
