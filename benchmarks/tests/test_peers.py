# ===- test_peers.py - exchanges of other projects -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#

import json
import sys
import types

import pytest

import gpu_exchange
from gpu import group, peers, report, shapes

# --- whether a peer can be measured -------------------------------------------- #

FLASHINFER = {
    "torch.py": "class Tensor: pass",
    "flashinfer/__init__.py": "",
    "flashinfer/jit/__init__.py": "",
    "flashinfer/moe_ep.py": "BootstrapConfig = MoEEpCommParams = NVLinkOneSidedConfig = create_communication = None",
    "flashinfer/jit/comm.py": """
import os
class Module:
    def build_and_load(self):
        open(os.environ["BUILT"], "w").close()
def gen_nvlink_one_sided_alltoall_module():
    return Module()
""",
}


@pytest.fixture(name="install")
def fixture_install(tmp_path, monkeypatch):
    """Makes the modules that are named the only ones of theirs."""

    def install(files):
        for name, text in files.items():
            path = tmp_path / "site" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
        monkeypatch.setenv("BUILT", str(tmp_path / "built"))
        return tmp_path / "built"

    return install


def test_a_peer_that_is_there_is_built(install):
    built = install(FLASHINFER)
    assert peers.why_not("flashinfer") is None
    assert built.exists()


def test_a_peer_that_is_not_installed(install):
    install({"nccl/__init__.py": ""})
    assert peers.why_not("nccl_ep") == "ModuleNotFoundError: No module named 'nccl.ep'"


def test_a_peer_without_what_is_used(install):
    built = install({**FLASHINFER, "flashinfer/moe_ep.py": "BootstrapConfig = create_communication = None"})
    assert peers.why_not("flashinfer") == \
        "ImportError: flashinfer.moe_ep has no MoEEpCommParams, NVLinkOneSidedConfig"
    assert not built.exists()


def test_a_peer_that_cannot_be_built(install):
    install({**FLASHINFER, "flashinfer/jit/comm.py": """
class Module:
    def build_and_load(self):
        raise RuntimeError("Ninja build failed\\nwith many lines")
gen_nvlink_one_sided_alltoall_module = Module
"""})
    assert peers.why_not("flashinfer") == "RuntimeError: Ninja build failed"


def test_a_peer_that_ends_the_process(install):
    install({"deep_ep.py": "import os; os._exit(3)"})
    assert peers.why_not("deep_ep") == "its import ended with code 3"


def test_a_peer_that_is_never_ready(install):
    install({"deep_ep.py": "import subprocess; subprocess.run(['sleep', '600'])"})
    assert peers.why_not("deep_ep", seconds=1) == "was not ready within 1 s"


def test_only_kinds_of_the_run_are_asked_for(monkeypatch):
    monkeypatch.setattr(peers, "why_not", lambda kind: None if kind == "deep_ep" else f"no {kind}")
    assert peers.missing(["ours", "deep_ep", "nccl_ep"]) == {"nccl_ep": "no nccl_ep"}


def test_plan_has_units_of_peers():
    units = shapes.plan(shapes.models()[:1], tuple(peers.PEERS))
    tokens = {kind: {u["tokens"] for u in units if u["kind"] == kind} for kind in peers.PEERS}
    assert tokens["flashinfer"] == tokens["deep_ep"] == set(shapes.TOKENS)
    assert tokens["nccl_ep"] == {16, 128, 1024}


# --- tables --------------------------------------------------------------------- #


def record(series, median, **more):
    return {"series": series, "model": "olmoe", "tokens": 128, "op": "combine", "mode": "eager", "median_us": median,
            "p10_us": median, "p90_us": median, "gb_per_s": 1.0, "correct": True, **more}


def test_ours_is_compared_with_the_best_of_those_that_do_the_same():
    records = [
        record("ours", 9.0, layout="slab", blocks=16, defer_release=True),
        record("ours", 10.0, layout="slab", blocks=0, defer_release=True),
        record("ours", 12.5, layout="rank_major", blocks=16, defer_release=False),
        record("ours", 40.0, layout="expert_major", blocks=0, defer_release=False),
        record("flashinfer", 11.0, layout="slab", version="0.7.4"),
        record("flashinfer", 1.0, layout="slab", version="0.7.4", correct=False),
        record("nccl_ep", 60.0, layout="expert_major", version="0.1.0", variant="low latency"),
        record("deep_ep", 30.0, layout="expert_major", version="2.0", variant="do_expand, 64 SMs"),
        # Another operation, of which there is no peer.
        record("ours", 5.0, layout="slab", blocks=0, op="dispatch"),
    ]
    assert list(report.peers_table(records)) == [
        "ours against the best of other projects: 3 rows, 2 behind",
        "  1.100x  olmoe, 128 tokens, slab, combine, eager, release deferred, auto blocks: 10.0 µs, "
        "flashinfer 0.7.4 11.0 µs",
        "  0.880x  olmoe, 128 tokens, rank_major, combine, eager, 16 blocks: 12.5 µs, flashinfer 0.7.4 11.0 µs",
        "  0.750x  olmoe, 128 tokens, expert_major, combine, eager, auto blocks: 40.0 µs, "
        "deep_ep 2.0, do_expand, 64 SMs 30.0 µs",
    ]
    text = "\n".join(report.tables(records))
    assert "\n  nccl_ep " in text and "\n  0.880x" in text


def test_pairs_are_shown():
    pair = dict(op=shapes.PAIR, mode="graph", layout="slab")
    records = [record("ours", 20.0, blocks=0, defer_release=True, **pair),
               record("flashinfer", 21.0, version="0.7.4", **pair)]
    table = list(report.exchange_table(records, "olmoe", 350.0))
    assert table[0].endswith("dispatch") and table[1].endswith("combine")
    assert table[2] == "olmoe, 128 tokens, dispatch and combine"
    assert [text.split()[:1] for text in table[3:]] == [["flashinfer"], ["ours"]]


def test_skipped_peers_are_named():
    skip = {"kind": "deep_ep", "skipped": "ModuleNotFoundError: No module named 'deep_ep'"}
    text = list(report.tables([skip, record("ours", 1.0, layout="slab", blocks=0)]))
    assert "1 measurements, 0 with wrong results, 0 failed or not run" in text
    assert text[-1] == "  skipped: deep_ep: ModuleNotFoundError: No module named 'deep_ep'"


def test_a_run_goes_on_without_those_that_are_missing(tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(peers, "why_not", lambda kind: "ImportError: too old" if kind == "deep_ep" else None)
    units = []

    def measure(planned, *_, keep):
        units.extend(planned)
        keep([], {})
        return [record("ours", 1.0, layout="slab", blocks=0)], {}

    monkeypatch.setattr(group, "measure", measure)
    (tmp_path / "lib.so").touch()
    monkeypatch.setattr(sys, "argv", [
        "gpu_exchange.py", "run", "--artifacts", str(tmp_path), "--baselines", str(tmp_path / "lib.so"), "--quick",
        "--tokens", "16", "--kinds", "ours,flashinfer,deep_ep", "--json", str(tmp_path / "result.json")])
    assert gpu_exchange.main() == 0
    assert [u["kind"] for u in units] == ["ours"] * len(shapes.LAYOUTS) + ["flashinfer"]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["records"][0] == {"kind": "deep_ep", "skipped": "ImportError: too old"}
    assert len(result["records"]) == 2 and result["complete"]
    assert capsys.readouterr().out.splitlines()[-1] == "  skipped: deep_ep: ImportError: too old"


# --- how they are checked and timed ---------------------------------------------- #


def one_rank(tmp_path, records):
    """A rank of one on the CPU."""
    torch = pytest.importorskip("torch")
    from gpu import host_rank  # pylint: disable=import-outside-toplevel

    config = {"rendezvous": f"file://{tmp_path / 'store'}", "seed": 5}
    rank = host_rank.HostRank(0, 1, config, lambda message: records.append(message[1:]))
    return torch, rank


class Shuffled:
    """An exchange of one rank whose rows come in another order each time; with rows
    by expert, those of an expert."""

    version, variant, is_weighted = "1", None, False
    breaks = None

    def __init__(self, torch, problem):
        self.torch, self.problem = torch, problem
        expected = problem.expected
        self.y = torch.zeros_like(expected.x)
        self.rows = torch.arange(len(expected.x))
        self.out = torch.zeros_like(problem.mine.x)
        self.rounds_partials = problem.layout == "expert_major"
        self.calls = []

    def replays(self, breaks):
        """Whether a replay, which eager calls come before, breaks this."""
        return self.breaks == f"{breaks} of replays" and len(self.calls) > 2 * 2 * shapes.effort(16)["samples"]

    def dispatch(self):
        self.calls.append("dispatch")
        torch, expected = self.torch, self.problem.expected
        order = torch.randperm(len(expected.x))
        if self.rounds_partials:
            order = order[torch.argsort(expected.experts[order], stable=True)]
        self.order = order
        self.x = expected.x[order].clone()
        if self.breaks == "dispatch" or self.replays("dispatch"):
            self.x[3, 20] += 1

    def received(self):
        from gpu.peers import measure  # pylint: disable=import-outside-toplevel

        expected = self.problem.expected
        drop = 1 if self.breaks == "count" else 0
        self.rows = self.rows[drop:]
        return measure.Received(self.x[drop:], expected.experts[self.order][drop:], expected.weights[self.order][drop:])

    def combine(self):
        self.calls.append("combine")
        total = self.torch.zeros_like(self.out, dtype=self.torch.float32)
        token = self.problem.expected.source[self.order]
        total.index_add_(0, token, self.y.float())
        if self.breaks == "combine":
            total[1] = total[0]
        if self.replays("combine"):
            total[1] = 0
        self.out = total.bfloat16()


def measured(tmp_path, layout, breaks=None):
    records = []
    torch, rank = one_rank(tmp_path, records)
    import torch.distributed as dist  # pylint: disable=import-outside-toplevel

    from gpu.peers import measure  # pylint: disable=import-outside-toplevel
    from gpu.problem import Problem  # pylint: disable=import-outside-toplevel
    try:
        problem = Problem(rank, {"model": "smallest", "tokens": 16}, layout)
        exchange = Shuffled(torch, problem)
        exchange.breaks = breaks
        measure.measure(rank, problem, exchange, {"series": "shuffled"})
    finally:
        dist.destroy_process_group()
    return exchange, [types.SimpleNamespace(**key, **content) for key, content in records]


@pytest.mark.parametrize("layout", ["slab", "expert_major"])
def test_measures_each_call_and_the_pair(tmp_path, layout):
    exchange, records = measured(tmp_path, layout)
    assert [(r.op, r.mode, r.ok) for r in records] == [
        ("dispatch", "eager", True), ("combine", "eager", True), (shapes.PAIR, "graph", True)], records
    effort = shapes.effort(16)
    assert [len(r.times) for r in records] == [effort["samples"], effort["samples"], effort["samples"] // 2]
    # Every dispatch is followed by its combine, also where only one is timed.
    assert exchange.calls == ["dispatch", "combine"] * (len(exchange.calls) // 2)


@pytest.mark.parametrize("layout", ["slab", "expert_major"])
@pytest.mark.parametrize("breaks, note", [("dispatch", "wrong: x"), ("count", "wrong: number of rows"),
                                          ("combine", "differ|largest error")])
def test_wrong_results_are_noticed(tmp_path, layout, breaks, note):
    _, records = measured(tmp_path, layout, breaks)
    assert [r.ok for r in records] == [False] * 3
    assert all(any(part in r.note for part in note.split("|")) for r in records)


@pytest.mark.parametrize("breaks", ["dispatch of replays", "combine of replays"])
def test_wrong_replays_are_noticed(tmp_path, breaks):
    _, records = measured(tmp_path, "slab", breaks)
    assert [r.ok for r in records] == [True, True, False]


# --- how they are called --------------------------------------------------------- #


@pytest.mark.parametrize("kind", peers.PEERS)
def test_peers_are_called_as_they_want_to_be(kind, monkeypatch):
    """With modules that check how they are called, and answer for both ranks."""
    torch = pytest.importorskip("torch")
    import fake_peers  # pylint: disable=import-outside-toplevel

    from gpu.peers import measure  # pylint: disable=import-outside-toplevel
    for name, module in getattr(fake_peers, kind)().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, f"gpu.peers.{kind}", raising=False)
    monkeypatch.setattr(torch.distributed, "new_group", lambda backend: None)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor, group: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: types.SimpleNamespace(cuda_stream=0))
    rank = fake_peers.Rank()
    measure.run(rank, {"kind": kind, "model": "smallest", "tokens": 16})
    assert [(r["op"], r["mode"], r["ok"]) for r in rank.records] == [
        ("dispatch", "eager", True), ("combine", "eager", True), (shapes.PAIR, "graph", True)], rank.records
    assert {r["series"] for r in rank.records} == {kind}
    # Rows that cross the link, of 64 bytes each.
    once = fake_peers.Group("slab").problem
    each = fake_peers.Group("expert_major").problem
    assert rank.records[0]["bytes"] == (each if kind == "nccl_ep" else once).dispatch_bytes
    assert each.dispatch_bytes > once.dispatch_bytes
