# ===- cases.py - what a rank does for a unit -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The measurements of each kind of unit. All ranks run them in step."""

import ctypes
import itertools
from pathlib import Path

import torch
import torch.distributed as dist

from . import data, handwritten, modules, package, shapes
from .abi import Exchange
from .by_torch import ByTorch
from .peers import PEERS, measure
from .problem import Problem
from .runtime import Call, CallInto
from .shapes import PAIR, effort

BLOCKS = (8, 16, 24, 32)
LINK_BYTES = 64 * shapes.MIB
BYTE_COPY_BYTES = 16 * shapes.MIB
ALIGNMENT = 256
# Calls that wait for the CPU take 5 % more or less from one to the next.
NCCL_SAMPLES = 45


def run(this, unit):
    ways = {"links": links, "alltoall": alltoall, "nccl": nccl, "hand": hand, "ours": ours,
            "messages": messages, "package": package.run, **dict.fromkeys(PEERS, measure.run)}
    ways[unit["kind"]](this, unit)


# --- the links -------------------------------------------------------------- #


def links(this, _unit):
    """The ceiling: what stores, loads, bulk copies and copy engines reach."""
    ranks, peers = this.ranks, this.ranks - 1
    group = this.group(this.memory.symmetric(handwritten.HEADER_BYTES + ranks * LINK_BYTES))
    offset = handwritten.HEADER_BYTES
    sent = [torch.randint(0, 256, (ranks, LINK_BYTES), dtype=torch.uint8, device=this.device,
                          generator=data.generator(this.device, 7, r)) for r in range(ranks)]
    source = sent[this.rank]
    target = torch.empty_like(source)
    region = group.buffer.view(offset, (ranks, LINK_BYTES), torch.uint8)
    others = [r for r in range(ranks) if r != this.rank]

    def arrived(size):
        """What peers sent here is here; the region is laid out by sender, `size` bytes each."""
        flat = region.view(-1)
        return all(torch.equal(flat[r * size:(r + 1) * size], sent[r].view(-1)[this.rank * size:(this.rank + 1) * size])
                   for r in others)

    def push(series, name, size, blocks):
        arguments = (source.data_ptr(), offset, size) + (() if blocks is None else (blocks,))
        call = lambda: group.call(name, *arguments)
        data.poison(region.view(torch.int32))
        this.meet()
        call()
        this.finish()
        this.meet()
        key = {"series": series, "op": "copy", "bytes_per_peer": size, "blocks": blocks}
        this.measure(key, call, size * peers, arrived(size), samples=11)

    counts = [b for b in (*BLOCKS, 64, 96) if b < this.processors] + [this.processors]
    for blocks in counts:
        push("stores", "stores", LINK_BYTES, blocks)
    for blocks in counts:
        push("bulk", "bulk", LINK_BYTES, blocks)
    for size in (shapes.MIB // 16, shapes.MIB // 4, shapes.MIB, 4 * shapes.MIB, 16 * shapes.MIB):
        push("stores", "stores", size, this.processors)
    push("copy_engines", "copy_engines", LINK_BYTES, None)
    push("byte_per_thread", "bytes", BYTE_COPY_BYTES, None)
    region.copy_(source)
    for blocks in counts:
        call = lambda: group.call("loads", target.data_ptr(), offset, LINK_BYTES, blocks)
        data.poison(target.view(torch.int32))
        this.meet()
        call()
        this.finish()
        ok = all(torch.equal(target[r], sent[r][this.rank]) for r in others)
        key = {"series": "loads", "op": "copy", "bytes_per_peer": LINK_BYTES, "blocks": blocks}
        this.measure(key, call, LINK_BYTES * peers, ok, samples=11)
    this.release(group)


# --- alltoallv -------------------------------------------------------------- #


def alltoall(this, unit):
    """As many bytes to each rank: with those that stay, and without."""
    ranks, size = this.ranks, unit["bytes"]
    rows = size // shapes.EXCHANGE_ROW
    shape = (ranks * rows, shapes.EXCHANGE_ROW // 2)
    sent = [torch.randn(shape, device=this.device, generator=data.generator(this.device, 11, r)).bfloat16()
            for r in range(ranks)]
    source = sent[this.rank]
    peers_only = [0 if r == this.rank else rows for r in range(ranks)]
    for scope, counts in (("all", [rows] * ranks), ("peers", peers_only)):
        used = sum(counts)
        # Rank s sends the rows from `first` on to this rank.
        parts = []
        for sender in range(ranks):
            if scope == "peers" and sender == this.rank:
                continue
            before = this.rank - (1 if scope == "peers" and sender < this.rank else 0)
            parts.append(sent[sender][before * rows:(before + 1) * rows])
        want = torch.cat(parts)
        key = {"op": "alltoallv", "bytes_per_peer": size, "scope": scope}
        num_bytes = (ranks - 1) * size
        received = torch.empty(shape, dtype=torch.bfloat16, device=this.device)
        data.poison(received)
        call = lambda: dist.all_to_all_single(received[:used], source[:used], counts, counts)
        call()
        torch.cuda.synchronize()
        this.measure({**key, "series": "nccl"}, call, num_bytes, data.same_bits(received[:used], want))
        for blocks in this.config["blocks"]:
            path = Path(this.config["artifacts"]) / modules.alltoallv_name(size, blocks)
            if not path.exists():
                continue
            artifact = this.memory.load(path)
            count_tensor = torch.tensor(counts, dtype=torch.int32, device=this.device)
            this.meet()
            ours_call = Call(this.memory, this.memory.entry(artifact, "alltoallv"), [source, count_tensor])
            ours_call()
            this.finish()
            recv, recv_counts = ours_call.results()
            this.meet()
            data.poison(recv)
            this.meet()
            ours_call()
            this.finish()
            ok = data.same_bits(recv[:used], want) and recv_counts.tolist() == counts
            del recv, recv_counts
            this.measure({**key, "series": "ours", "blocks": blocks}, ours_call, num_bytes, ok, graph_calls=5)
            this.meet()
            this.memory.unload(artifact)


# --- dispatch and combine ---------------------------------------------------- #


def nccl(this, unit):
    """What one writes with torch. A second dispatch sends rows only."""
    p = Problem(this, unit, "rank_major")
    code, state = ByTorch(p, this.ranks), {}

    def dispatch(rows_only):
        state["received"], state["route"] = code.dispatch(p.mine.x, p.mine.idx, p.mine.weights, rows_only)

    def combine():
        state["out"] = code.combine(state["y"], state["route"])

    key = {**p.key, "series": "nccl"}
    source = p.expected.source.long()
    for variant in ("rows_and_topk", "rows_only"):
        call = lambda: dispatch(variant == "rows_only")
        call()
        wanted = [torch.cat([getattr(d, name) for d in p.inputs])[source] for name in ("x", "idx", "weights")]
        ok = all(data.same_bits(got, want) for got, want in zip(state["received"], wanted))
        del wanted
        this.measure({**key, "op": "dispatch", "variant": variant}, call, p.dispatch_bytes, ok, samples=NCCL_SAMPLES,
                     waits_for_cpu=True)
    state["y"] = data.transform(p.layout, this.rank, state["received"][0], None)
    combine()
    ok, note = data.compare_sums(state["out"], p.expected_combine(this, False))
    this.measure({**key, "op": "combine"}, combine, p.combine_bytes, ok, note, samples=NCCL_SAMPLES,
                 waits_for_cpu=True)


def hand(this, unit):
    p = Problem(this, unit, unit["layout"])
    ranks, slab = this.ranks, p.layout == "slab"
    capacity = ranks * p.tokens
    copies = 2 if slab else 1
    sizes = {"recv": p.row_bytes, "y": p.row_bytes, "recv_source": 4, "recv_experts": 4 * p.model.top_k,
             "recv_weights": 4 * p.model.top_k}
    offsets, total = {}, handwritten.HEADER_BYTES
    for name, size in sizes.items():
        offsets[name] = total
        total += -(-copies * capacity * size // ALIGNMENT) * ALIGNMENT
    group = this.group(this.memory.symmetric(total))

    def received(name, shape, dtype):
        return group.buffer.view(offsets[name], (copies, capacity, *shape), dtype)

    recv = received("recv", (p.model.hidden,), torch.bfloat16)
    source = received("recv_source", (), torch.int32)
    experts = received("recv_experts", (p.model.top_k,), torch.int32)
    weights = received("recv_weights", (p.model.top_k,), torch.float32)
    out = torch.empty_like(p.mine.x)
    send_row = torch.empty((p.tokens, ranks), dtype=torch.int32, device=this.device)
    ex = Exchange(
        p.mine.x.data_ptr(), p.mine.idx.data_ptr(), p.mine.weights.data_ptr(), out.data_ptr(), send_row.data_ptr(),
        *[offsets[n] for n in ("recv", "y", "recv_source", "recv_experts", "recv_weights")], p.tokens, p.model.top_k,
        p.model.experts // ranks, p.row_bytes, capacity)
    rows_only = Exchange.from_buffer_copy(ex)
    rows_only.recv_experts = 0

    if slab:
        variants = [("dispatch", "slab", ex), ("dispatch", "slab_rows_only", rows_only), ("combine", "slab", ex)]
    else:
        variants = [("dispatch", "stores", ex), ("dispatch", "bulk", ex), ("dispatch", "bulk_rows_only", rows_only),
                    ("combine", "loads", ex), ("combine", "bulk", ex)]
    for op, variant, exchange in variants:
        function = f"{op}_{variant.removesuffix('_rows_only')}"
        for blocks in (*BLOCKS, this.processors):
            call = lambda: group.call(function, ctypes.byref(exchange), blocks)
            if op == "dispatch":
                for tensor in (recv, source, experts, weights):
                    data.poison(tensor)
                this.meet()
                for _ in range(copies):
                    call()
                this.finish()
                some = exchange is ex
                wrong = sum([p.expected.problems(recv[c], source[c], experts[c] if some else None,
                                                 weights[c] if some else None) for c in range(copies)], [])
                ok, note = not wrong, f"wrong: {', '.join(sorted(set(wrong)))}" if wrong else None
                num_bytes = p.dispatch_bytes
            else:
                y = received("y", (p.model.hidden,), torch.bfloat16)
                data.poison(y)
                y[:, p.expected.rows] = data.transform(p.layout, this.rank, p.expected.x, None)
                data.poison(out)
                this.meet()
                call()
                this.finish()
                ok, note = data.compare_sums(out, p.expected_combine(this, False))
                num_bytes = p.combine_bytes
            key = {**p.key, "series": "hand", "op": op, "variant": variant, "blocks": blocks}
            this.measure(key, call, num_bytes, ok, note, **effort(p.tokens))
    this.release(group)


def ours(this, unit):
    p = Problem(this, unit, unit["layout"])
    weighted = p.layout == "expert_major"
    for blocks, variant in itertools.product(this.config["blocks"], shapes.VARIANTS[p.layout]):
        name = modules.exchange_name(p.model.name, p.tokens, p.layout, blocks, variant)
        path = Path(this.config["artifacts"]) / name
        if not path.exists():
            continue
        artifact = this.memory.load(path)
        this.meet()
        key = {**p.key, "series": "ours", "blocks": blocks, **({"variant": variant} if variant else {})}
        dispatch = Call(this.memory, this.memory.entry(artifact, "dispatch"), [p.mine.x, p.mine.idx, p.mine.weights])
        # The first results show where symmetric ones lie, to be poisoned.
        first = dispatch.results()
        this.finish()
        this.meet()
        for tensor in first[:4]:
            data.poison(tensor)
        del first
        this.meet()
        recv, experts, weights, source, _, from_ranks, send_row, *lists = dispatch.results()
        this.finish()
        wrong = p.expected.problems(recv, source, experts, weights)
        if from_ranks.tolist() != p.expected.counts:
            wrong.append("counts")
        if variant == shapes.LISTED:
            local = p.model.experts // this.ranks
            wrong += p.expected.problems_of_lists(*lists, this.rank * local, shapes.LIST_ALIGNMENT)
        this.meet()
        this.measure({**key, "op": "dispatch"}, dispatch, p.dispatch_bytes, not wrong,
                     f"wrong: {', '.join(wrong)}" if wrong else None, **effort(p.tokens))

        buffer = this.memory.symmetric(recv.numel() * 2)
        y = buffer.view(0, recv.shape, torch.bfloat16)
        data.poison(y)
        y[p.expected.rows] = data.transform(p.layout, this.rank, p.expected.x, p.expected.experts)
        inputs = [y, send_row, source, from_ranks] + ([p.mine.idx, weights] if weighted else [])
        for deferred, entry in ({} if variant == shapes.LISTED else modules.COMBINES).items():
            combine = Call(this.memory, this.memory.entry(artifact, entry), inputs)
            this.meet()
            out, = combine.results()
            this.finish()
            ok, note = compare_ours(this, p, variant, out)
            this.measure({**key, "op": "combine", "defer_release": deferred}, combine, p.combine_bytes, ok, note,
                         **effort(p.tokens))
            ours_pair(this, p, {**key, "defer_release": deferred}, dispatch,
                      CallInto(this.memory, this.memory.entry(artifact, entry), inputs, [torch.empty_like(p.mine.x)]))
            del out, combine
        del recv, experts, weights, source, from_ranks, send_row, lists, y, inputs, dispatch
        this.meet()
        this.memory.free(buffer)
        this.memory.unload(artifact)


def compare_ours(this, p, variant, out):
    """(right, note) of the sums of a combine of ours."""
    weighted = p.layout == "expert_major"
    want = p.expected_combine(this, weighted)
    if variant not in shapes.ROUNDED_PARTIALS:
        return data.compare_sums(out, want)
    return data.compare_partial_sums(out, want, p.expected_combine(this, weighted, p.mine.x.abs()))


def ours_pair(this, p, key, dispatch, combine):
    """A dispatch and a combine in turn, in a graph, as a layer calls them."""
    out, = combine.tensors[1]

    def pair():
        dispatch()
        combine()

    this.meet()
    # The first call may allocate, which a capture does not allow.
    pair()
    how = effort(p.tokens)
    samples, calls = how["samples"], how["graph_calls"]
    graph = this.capture(pair, calls)
    data.poison(out)
    this.meet()
    graph.replay()
    this.finish()
    ok, note = compare_ours(this, p, key.get("variant"), out)
    this.record({**key, "op": PAIR, "mode": "graph"}, this.replays(graph, max(7, samples // 2), calls),
                p.dispatch_bytes + p.combine_bytes, ok, note)


def messages(this, unit):
    """Ours by messages of NCCL. A dispatch of the exact schedule reads counts on the
    CPU, and so waits for it, and so does its combine unless the dispatch has kept its
    blocks. Those of the padded schedule do not, and are replayed as graphs."""
    p = Problem(this, unit, "rank_major")
    for variant, (schedule, keeps_blocks) in shapes.MESSAGES.items():
        path = Path(this.config["artifacts"]) / modules.messages_name(p.model.name, p.tokens, variant)
        if not path.exists():
            continue
        artifact = this.memory.load(path)
        this.meet()
        key = {**p.key, "series": "messages", "variant": variant}
        waiting = dict(samples=NCCL_SAMPLES, waits_for_cpu=True)
        calls = waiting if schedule == "exact" else effort(p.tokens)
        dispatch = Call(this.memory, this.memory.entry(artifact, "dispatch"), [p.mine.x, p.mine.idx, p.mine.weights])
        recv, experts, weights, source, _, from_ranks, send_row, *kept = dispatch.results()
        this.finish()
        wrong = p.expected.problems(recv, source, experts, weights)
        if from_ranks.tolist() != p.expected.counts:
            wrong.append("counts")
        this.measure({**key, "op": "dispatch"}, dispatch, p.dispatch_bytes, not wrong,
                     f"wrong: {', '.join(wrong)}" if wrong else None, **calls)

        y = torch.empty_like(recv)
        data.poison(y)
        y[p.expected.rows] = data.transform(p.layout, this.rank, p.expected.x, None)
        combine = Call(this.memory, this.memory.entry(artifact, "combine"), [y, send_row, source, from_ranks, *kept])
        out, = combine.results()
        this.finish()
        ok, note = data.compare_sums(out, p.expected_combine(this, False))
        if keeps_blocks:
            calls = dict(samples=NCCL_SAMPLES)
        this.measure({**key, "op": "combine"}, combine, p.combine_bytes, ok, note, **calls)
        if schedule == "exact":
            messages_pair(this, p, key, dispatch, combine, waiting)
        del recv, experts, weights, source, from_ranks, send_row, kept, y, out, dispatch, combine
        this.meet()
        this.memory.unload(artifact)


def messages_pair(this, p, key, dispatch, combine, how):
    """A dispatch and a combine in turn, as a layer calls them."""

    def pair():
        dispatch()
        combine()

    this.meet()
    dispatch()
    out, = combine.results()
    this.finish()
    ok, note = data.compare_sums(out, p.expected_combine(this, False))
    this.meet()
    this.measure({**key, "op": PAIR}, pair, p.dispatch_bytes + p.combine_bytes, ok, note, **how)
