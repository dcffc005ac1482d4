# ===- fake_peers.py - other projects with the other rank in them -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Rank 0 of two, and modules with the names and the rules of the projects that it
calls. What the other rank does follows from its inputs."""

import types

import torch

from gpu import data, problem

RANKS = 2


class Rank:
    """Rank 0, on the CPU."""

    rank, ranks, device = 0, RANKS, torch.device("cpu")
    config = {"seed": 11}

    def __init__(self):
        self.records = []

    def meet(self):
        pass

    finish = meet

    def eager(self, call, samples, before=None, after=None):
        for _ in range(samples):
            for step in (before, call, after):
                if step:
                    step()
        return [], 0

    def capture(self, call, calls):
        return types.SimpleNamespace(replay=lambda: [call() for _ in range(calls)])

    def replays(self, graph, samples, calls):
        return self.eager(graph.replay, samples)

    def record(self, key, _measured, num_bytes, ok, note):
        self.records.append({**key, "bytes": num_bytes, "ok": ok, "note": note})


class Group:
    """What both ranks know."""

    def __init__(self, layout, tokens=16):
        self.problem = problem.Problem(Rank(), {"model": "smallest", "tokens": tokens}, layout)
        self.inputs, self.mine = self.problem.inputs, self.problem.mine
        self.local = self.problem.model.experts // RANKS

    def received(self, rank):
        """(sender, token) of the rows of a rank, a row for each of its experts: (sender, token, expert)."""
        for sender, inputs in enumerate(self.inputs):
            for token, slot in (inputs.idx // self.local == rank).nonzero().tolist():
                yield sender, token, slot

    def sums(self, rows, y, is_weighted):
        """The rows (token, expert) of rank 0 that came from itself, `y`, and those
        that rank 1 makes of the same tokens."""
        # Rank 1 combines equal rows when rank 0 does.
        is_equal = len({float(v) for v in y.float().abs().amax(1) / y.float().abs().amin(1)}) == 1
        x = torch.ones_like(self.mine.x) if is_equal else self.mine.x
        total = torch.zeros_like(self.mine.x, dtype=torch.float32)
        for (token, weight), row in zip(rows, y.float()):
            total[token] += row * (weight if is_weighted else 1)
        for token in range(len(x)):
            there = [k for k, e in enumerate(self.mine.idx[token].tolist()) if e // self.local == 1]
            for k in there[:None if self.problem.layout == "expert_major" else 1]:
                row = data.transform(self.problem.layout, 1, x[token:token + 1], self.mine.idx[token, k:k + 1]).float()
                total[token] += row[0] * (self.mine.weights[token, k] if is_weighted else 1)
        return total.bfloat16()


def keep(**arguments):
    return types.SimpleNamespace(**arguments)


class Communication:
    """FlashInfer's: a slab for each sender, in any order, with all experts of a token."""

    def __init__(self, bootstrap, sizes, config):
        assert (bootstrap.world_size, bootstrap.rank) == (RANKS, 0) and config.timeout_sec > 0
        assert sizes.dtype == torch.bfloat16
        self.group, self.sizes, self.is_open = Group("slab", sizes.max_tokens_per_rank), sizes, False
        self.buffer = torch.empty((RANKS * sizes.max_tokens_per_rank, sizes.hidden_size), dtype=torch.bfloat16)

    def dispatch(self, x, ids, weights):
        assert not self.is_open, "dispatch called twice without an intervening combine"
        self.is_open = True
        tokens, group = self.sizes.max_tokens_per_rank, self.group
        assert data.same_bits(x, group.mine.x) and data.same_bits(weights, group.mine.weights)
        rows = torch.full((RANKS * tokens,), -1)
        for sender in range(RANKS):
            found = sorted({token for s, token, _ in group.received(0) if s == sender})
            rows[sender * tokens:sender * tokens + len(found)] = torch.tensor(found)[torch.randperm(len(found))]
        result = keep(hidden_states=torch.randn_like(self.buffer, dtype=torch.float32).bfloat16(),
                      topk_ids=torch.full((RANKS * tokens, ids.shape[1]), -1, dtype=torch.int32),
                      topk_weights=torch.randn((RANKS * tokens, ids.shape[1])))
        for row, token in enumerate(rows.tolist()):
            if token >= 0:
                sent = group.inputs[row // tokens]
                result.hidden_states[row], result.topk_ids[row] = sent.x[token], sent.idx[token]
                result.topk_weights[row] = sent.weights[token]
        self.rows = rows[:tokens]
        return result

    def get_combine_input_buffer(self, dtype):
        assert self.is_open and dtype == torch.bfloat16
        return self.buffer

    def combine(self, y, *, output):
        assert self.is_open and y is self.buffer
        self.is_open = False
        used = self.rows >= 0
        rows = [(token, None) for token in self.rows[used].tolist()]
        output.copy_(self.group.sums(rows, y[:len(self.rows)][used], False))

    def destroy(self):
        self.group = None


def flashinfer():
    moe_ep = types.ModuleType("flashinfer.moe_ep")
    moe_ep.BootstrapConfig = moe_ep.MoEEpCommParams = moe_ep.NVLinkOneSidedConfig = keep
    moe_ep.create_communication = Communication
    package = types.ModuleType("flashinfer")
    package.__version__, package.moe_ep = "0.7.4", moe_ep
    return {"flashinfer": package, "flashinfer.moe_ep": moe_ep}


class ByExpert:
    """Rows of rank 0 by expert, in any order within an expert."""

    def __init__(self, tokens):
        self.group = Group("expert_major", tokens)

    def shuffled(self):
        """(expert, sender, token, slot), by expert."""
        rows = [(int(self.group.inputs[s].idx[t, k]), s, t, k) for s, t, k in self.group.received(0)]
        rows = [rows[i] for i in torch.randperm(len(rows)).tolist()]
        return sorted(rows, key=lambda row: row[0])

    def x(self, row):
        return self.group.inputs[row[1]].x[row[2]]

    def weight(self, row):
        return self.group.inputs[row[1]].weights[row[2], row[3]]

    def sums(self, rows, y, is_weighted):
        mine = [i for i, row in enumerate(rows) if row[1] == 0]
        return self.group.sums([(rows[i][2], self.weight(rows[i])) for i in mine], y[mine], is_weighted)


class ElasticBuffer:
    """DeepEP's."""

    def __init__(self, _group, num_max_tokens_per_rank, hidden, num_topk, num_gpu_timeout_secs, explicitly_destroy):
        assert hidden == 32 and num_topk == 2 and num_gpu_timeout_secs > 0 and explicitly_destroy
        self.ranks, self.tokens = ByExpert(num_max_tokens_per_rank), num_max_tokens_per_rank

    def dispatch(self, x, topk_idx, topk_weights, num_experts, expert_alignment, num_sms, do_cpu_sync, do_expand):
        assert topk_idx.dtype == torch.int64 and num_experts == 8 and expert_alignment == 1 and num_sms > 0
        assert do_expand and not do_cpu_sync and len(x) == len(topk_weights)
        rows = self.ranks.shuffled()
        # As many as there may be.
        received = torch.randn((RANKS * self.tokens * 2, x.shape[1])).bfloat16()
        weights = torch.randn(len(received))
        for i, row in enumerate(rows):
            received[i], weights[i] = self.ranks.x(row), self.ranks.weight(row)
        ends = torch.tensor([sum(row[0] <= expert for row in rows) for expert in range(4)], dtype=torch.int32)
        return received, None, weights, keep(rows=rows, psum_num_recv_tokens_per_expert=ends), None

    def combine(self, y, handle):
        assert len(y) == RANKS * self.tokens * 2
        return self.ranks.sums(handle.rows, y, False), None, None

    def destroy(self):
        self.ranks = None


def deep_ep():
    package = types.ModuleType("deep_ep")
    package.ElasticBuffer, package.topk_idx_t = ElasticBuffer, torch.int64
    return {"deep_ep": package}


class NcclGroup:
    """NCCL EP's group, and its handle."""

    @classmethod
    def create(cls, _communicator, config):
        assert config.algorithm == "low latency" and config.num_experts == 8 and config.max_token_bytes == 64
        group = cls()
        group.tokens, group.ranks = config.max_dispatch_tokens_per_rank, ByExpert(config.max_dispatch_tokens_per_rank)
        return group

    def create_handle(self, layout, idx, *, stream):
        assert layout == "by expert" and stream is not None
        self.update(idx, stream=stream)
        return self

    def update(self, idx, *, stream):
        assert idx.dtype == torch.int64 and stream is not None

    def dispatch(self, inputs, outputs, *, layout_info, stream):
        assert data.same_bits(inputs.tokens, self.ranks.group.mine.x) and stream is not None
        rows = self.ranks.shuffled()
        outputs.tokens.copy_(torch.randn_like(outputs.tokens, dtype=torch.float32))
        layout_info.expert_counters.zero_()
        self.places = []
        for row in rows:
            place = int(layout_info.expert_counters[row[0]])
            outputs.tokens[row[0], place] = self.ranks.x(row)
            self.places.append((row[0], place))
            layout_info.expert_counters[row[0]] += 1
        self.rows = rows

    def combine(self, inputs, outputs, *, stream):
        assert data.same_bits(outputs.topk_weights, self.ranks.group.mine.weights) and stream is not None
        y = torch.stack([inputs.tokens[place] for place in self.places])
        outputs.tokens.copy_(self.ranks.sums(self.rows, y, True))

    def destroy(self):
        pass


def nccl_ep():
    names = ("nccl", "nccl.ep", "nccl.ep.interop", "nccl.ep.interop.torch")
    nccl, ep, interop, of_torch = modules = [types.ModuleType(name) for name in names]
    ep.Group, ep.Tensor = NcclGroup, lambda tensor: tensor
    ep.GroupConfig = ep.DispatchInputs = ep.DispatchOutputs = ep.LayoutInfo = keep
    ep.CombineInputs = ep.CombineOutputs = keep
    ep.Algorithm, ep.Layout = keep(LOW_LATENCY="low latency"), keep(EXPERT_MAJOR="by expert")
    ep.get_lib_version = lambda: "0.1.0"
    of_torch.get_nccl_comm_from_group = lambda: keep(destroy=lambda: None)
    nccl.ep, ep.interop, interop.torch = ep, interop, of_torch
    return dict(zip(names, modules))
