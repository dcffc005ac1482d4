# ===- test_parts.py - statistics, bytes, shapes, modules, tables -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpu_exchange
from gpu import modules, report, routing, sampling, shapes, stats

ROOT = Path(__file__).resolve().parents[2]


# --- statistics ------------------------------------------------------------- #


def test_percentile_is_numpys():
    values = [5.0, 1.0, 4.0, 2.0, 8.0]
    for share in (0.0, 0.1, 0.37, 0.5, 0.9, 1.0):
        assert stats.percentile(values, share) == pytest.approx(np.percentile(values, share * 100))


def test_summary_is_of_the_slowest_rank():
    figures = stats.summary([[1.0, 1.0, 90.0], [2.0, 3.0, 4.0]])
    assert figures["median"] == 3.0
    assert (figures["p10"], figures["p90"]) == (pytest.approx(2.2), pytest.approx(3.8))


def test_merge():
    part = {"times": [10.0, 10.0], "enqueue": [4.0], "late": 0, "bytes": 20_000, "ok": True, "note": None}
    other = {"times": [20.0, 20.0], "enqueue": [6.0], "late": 0, "bytes": 40_000, "ok": True, "note": "a note"}
    record = stats.merge({"op": "dispatch"}, [part, other])
    assert record["gb_per_s"] == 1.5
    assert record["enqueue_us"] == 6.0
    assert record["bytes_out"] == [20_000, 40_000]
    assert record["correct"] is True and record["note"] == "a note"
    assert stats.merge({}, [part, {**other, "ok": False}])["correct"] is False
    assert stats.merge({}, [part, {**other, "ok": None}])["correct"] is None
    assert "failed" in stats.merge({}, [part, None])


def late_by_turns(late_counts, wanted, warmup=2, late_elsewhere=()):
    """Samples of a rank whose CPU is late in the first `late_counts[i]` samples
    of round i; another rank in those with the given numbers. Also how many
    samples each round took."""
    rounds = []

    def take(count):
        number = len(rounds)
        rounds.append(count)
        late = late_counts[number] if number < len(late_counts) else 0
        return [sampling.Sample(100.0 * number + i, 1.0, i < warmup or i - warmup < late) for i in range(count)]

    agree = lambda flags: [flag or (len(rounds) == 1 and i in late_elsewhere) for i, flag in enumerate(flags)]
    samples, late = sampling.take_samples(take, agree, wanted, warmup)
    return [s.gpu_us for s in samples], late, rounds


def test_samples_are_taken_once_when_none_is_late():
    assert late_by_turns([], 4) == ([2.0, 3.0, 4.0, 5.0], 0, [6])


def test_samples_that_are_late_are_taken_again():
    # Three of four, then one of three: the second round's first.
    assert late_by_turns([3, 1], 4) == ([5.0, 103.0, 104.0, 202.0], 0, [6, 5, 3])


def test_samples_that_are_late_elsewhere_are_taken_again():
    assert late_by_turns([], 4, late_elsewhere=(0, 2)) == ([3.0, 5.0, 102.0, 103.0], 0, [6, 4])


def test_samples_that_stay_late_are_kept_and_counted():
    samples, late, rounds = late_by_turns([9] * 9, 4)
    assert (samples, late, rounds) == ([2.0, 3.0, 4.0, 5.0], 4, [6] * sampling.ROUNDS)
    samples, late, _ = late_by_turns([3] + [9] * 9, 4)
    assert late == 3 and samples[0] == 5.0


# --- bytes ------------------------------------------------------------------- #


def rows_one_by_one(idx, ranks, experts, layout):
    owner = [rank for rank in range(ranks) for _ in range(experts // ranks + (rank < experts % ranks))]
    rows = [0] * ranks
    for token in idx:
        chosen = {int(e) for e in token if e >= 0}
        if layout == "expert_major":
            for e in chosen:
                rows[owner[e]] += 1
        else:
            for rank in {owner[e] for e in chosen}:
                rows[rank] += 1
    return rows


@pytest.mark.parametrize("layout", shapes.LAYOUTS)
def test_rows_to_ranks(layout):
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed", seed)
    rng = np.random.default_rng(seed)
    for _ in range(50):
        ranks = int(rng.integers(1, 9))
        experts = int(rng.integers(1, 40))
        idx = rng.integers(-1, experts, (int(rng.integers(0, 30)), int(rng.integers(1, 9))))
        got = routing.rows_to_ranks(idx, ranks, experts, layout)
        assert got.tolist() == rows_one_by_one(idx, ranks, experts, layout)


def test_bytes_leave_out_what_stays():
    sent = [np.array([5, 2, 3]), np.array([1, 1, 1]), np.array([0, 4, 9])]
    assert routing.bytes_out(sent[0], 0, 10) == 50
    assert routing.combine_bytes_out(sent, 0, 10) == 10
    assert routing.combine_bytes_out(sent, 1, 10) == 60
    assert sum(routing.bytes_out(s, r, 1) for r, s in enumerate(sent)) == \
        sum(routing.combine_bytes_out(sent, r, 1) for r in range(3))


# --- shapes and modules ------------------------------------------------------- #


def test_models_are_those_of_the_examples():
    found = {m.name: (m.experts, m.top_k, m.hidden) for m in shapes.models()}
    assert len(found) == len(list((ROOT / "examples" / "models").glob("*.mlir")))
    assert found["deepseek_v3"] == (256, 8, 7168)
    assert found["llama4_scout"] == (16, 1, 5120)
    assert shapes.models()[0].name == shapes.QUICK_MODEL


def test_parse_model_says_what_is_missing():
    with pytest.raises(ValueError, match="empty: no moe.dispatch"):
        shapes.parse_model("empty", "module {}")


def test_plan():
    models = shapes.models()
    quick, full = (shapes.plan(shapes.choose_models([], q)) for q in (True, False))
    assert {u["model"] for u in quick if "model" in u} == {shapes.QUICK_MODEL}
    assert all(u in full for u in quick)
    assert {u["tokens"] for u in full if u["kind"] == "ours"} == set(shapes.TOKENS)
    assert len([u for u in full if u["kind"] == "ours"]) == len(models) * len(shapes.TOKENS) * len(shapes.LAYOUTS)
    assert [u["tokens"] for u in quick if u["kind"] == "package"] == [shapes.PACKAGE_TOKENS]
    some = shapes.plan(models[:1], ("nccl",), [128])
    assert some == [{"kind": "nccl", "model": shapes.QUICK_MODEL, "tokens": 128}]


def test_models_are_chosen_by_name():
    assert [m.name for m in shapes.choose_models(["olmoe"], True)] == ["olmoe"]
    with pytest.raises(ValueError, match="no such model: olmo; there are deepseek_v3"):
        shapes.choose_models(["olmo"], False)


def all_texts(ranks):
    return {a.name: a.text for a in modules.wanted(ranks, shapes.models(), shapes.TOKENS, [16])}


def test_modules_have_the_shapes_asked_for():
    texts = all_texts(4)
    text = texts["deepseek_v3-expert_major-t128-b16.so"]
    assert "tensor<4096x7168xbf16> {moe.symmetric}" in text  # 4 ranks x 128 tokens x top 8
    assert "tensor<512x7168xbf16> {moe.symmetric}" in texts["deepseek_v3-slab-t128-b16.so"]
    for layout in shapes.LAYOUTS:
        combines = texts[f"olmoe-{layout}-t16-b16.so"].split("func.func ")[2:]
        assert [("defer_release" in text, text.split("(")[0]) for text in combines] == [
            (False, "@combine"), (True, "@combine_deferred")]
    # 512 rows that 8 experts may take, and up to 127 places behind each of 64 groups.
    assert "tensor<12160xi32>, tensor<12160xf32>" in texts["deepseek_v3-slab-t128-b16-listed.so"]
    assert f"tensor<{4 * 4096}x8192xbf16>" in texts[f"alltoallv-{64 << 20}-b16.so"]


@pytest.mark.parametrize("layout", ["rank_major", "slab"])
def test_lists_are_checked(layout):
    """What benchmarks compare lists with is what the oracle of the tests lists."""
    torch = pytest.importorskip("torch")
    from gpu import data
    sys.path.insert(0, str(ROOT / "test" / "Differential"))
    import oracle

    model, ranks, tokens = shapes.SMALLEST, 2, 40
    inputs = [data.Inputs(model, tokens, 5, rank, "cpu") for rank in range(ranks)]
    attrs = oracle.DispatchAttrs(ranks, model.experts, layout, static_tokens=tokens,
                                 list_alignment=shapes.LIST_ALIGNMENT)
    want = oracle.dispatch(attrs, [d.x[:, :1].float().numpy() for d in inputs], [d.idx.numpy() for d in inputs],
                           [d.weights.numpy() for d in inputs])
    local = model.experts // ranks
    for rank in range(ranks):
        lists = [torch.from_numpy(field[rank]) for field in (want.expert_offsets, want.expert_counts, want.list_rows,
                                                              want.list_weights)]
        assert len(lists[2]) == shapes.list_places(ranks * tokens, model.top_k, local)
        check = data.Expected(model, layout, inputs, rank).problems_of_lists
        assert check(*lists, rank * local, shapes.LIST_ALIGNMENT) == []
        lists[2][0] += 1
        assert check(*lists, rank * local, shapes.LIST_ALIGNMENT) == ["list_rows"]


def test_modules_verify():
    compiler = Path(
        os.environ.get("MOE_BIN_DIR", ROOT / "build" / "bin")).absolute() / "moe-opt"
    if not compiler.exists():
        pytest.skip(f"{compiler} is not built")
    for ranks in (2, 4):
        text = "\n// -----\n".join(t for n, t in all_texts(ranks).items() if "-t128-" in n or "alltoallv" in n)
        done = subprocess.run([compiler, "--split-input-file", "-o", os.devnull], input=text, text=True, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout


def test_prepare_reports_failures(tmp_path):
    script = tmp_path / "compiler"
    script.write_text('#!/bin/sh\ncase "$*" in *slab*--threads=64*--blocks=8*) echo no slab; exit 1;; esac\ntouch "$4"\n')
    script.chmod(0o755)
    artifacts = modules.wanted(2, shapes.models()[:1], shapes.TOKENS, [0, 8])
    count, failed = modules.prepare(script, "cuda", ["--threads=64"], tmp_path / "out", artifacts, 2)
    made = {f.name for f in (tmp_path / "out").glob("*.so")}
    by_messages = len(shapes.TOKENS) * len(shapes.MESSAGES)
    ways = sum(len(shapes.VARIANTS[layout]) for layout in shapes.LAYOUTS)
    assert count == (len(shapes.TOKENS) * ways + len(shapes.EXCHANGE_BYTES)) * 2 + by_messages
    assert failed and all(re.search(r"-slab-.*-b8(-listed)?\.so", name) for name in failed)
    assert set(failed.values()) == {"no slab"}
    assert len(made) == count - len(failed)


# --- tables -------------------------------------------------------------------- #


def record(series, median, **more):
    return {"series": series, "median_us": median, "p10_us": median, "p90_us": median, "correct": True,
            "mode": "eager", **more}


def sample_records():
    link = dict(op="copy", bytes_per_peer=64 << 20)
    shape = dict(model="deepseek_v3", tokens=4096, layout="rank_major")
    return [
        record("stores", 190.0, blocks=132, gb_per_s=350.0, **link),
        record("stores", 10.0, blocks=132, gb_per_s=900.0, op="copy", bytes_per_peer=1 << 20),
        record("nccl", 500.0, op="dispatch", variant="rows_and_topk", gb_per_s=100.0, **shape),
        record("nccl", 400.0, op="dispatch", variant="rows_only", gb_per_s=125.0, **shape),
        record("nccl", 420.0, op="dispatch", gb_per_s=120.0, **shape),
        record("hand", 200.0, op="dispatch", variant="bulk", blocks=16, gb_per_s=280.0, **shape),
        record("hand", 100.0, op="dispatch", variant="bulk_rows_only", blocks=16, gb_per_s=560.0, **shape),
        record("ours", 160.0, op="dispatch", blocks=16, gb_per_s=315.0, **shape),
        {**record("ours", 1.0, op="dispatch", blocks=132, gb_per_s=9999.0, **shape), "correct": False},
        {"kind": "ours", "failed": "first line\nSomeError: what it was\nadvice", **shape},
    ]


def test_tables():
    records = sample_records()
    assert report.ceiling(records) == 350.0
    text = "\n".join(report.tables(records))
    assert "ours dispatch, 4096 tokens: share of the ceiling         0.90" in text
    assert re.search(r"ours dispatch, 4096 tokens, against torch \+ NCCL +3\.12x", text)
    assert re.search(r"ours dispatch, 4096 tokens, against rows only +2\.50x", text)
    assert "same blocks: 1 pairs, 0 slower" in text
    assert "  1.250x  deepseek_v3, rank_major, 4096, dispatch, eager, 16 blocks" in text
    assert "9999" not in text
    assert "9 measurements, 1 with wrong results, 1 failed or not run" in text
    assert "SomeError: what it was" in text


def test_messages_are_compared_with_torch_and_with_each_other():
    shape = dict(model="deepseek_v3", tokens=128, op="dispatch", layout="rank_major", gb_per_s=1.0)
    records = [
        record("nccl", 900.0, variant="rows_and_topk", **shape),
        record("nccl", 100.0, variant="rows_only", **shape),
        record("messages", 300.0, variant="exact", **shape),
        record("messages", 200.0, variant="exact, blocks kept", **shape),
        {**record("messages", 60.0, variant="padded", **shape), "mode": "graph"},
        record("messages", 10.0, variant="padded", **shape),
    ]
    assert list(report.messages_table(records)) == [
        "messages, exact, dispatch, 128 tokens: 300.0 µs, torch + NCCL 900.0 µs, 3.00x",
        "messages, exact, blocks kept, dispatch, 128 tokens: 200.0 µs, 1.50x as fast as exact",
        "messages, padded, dispatch, 128 tokens, graph: 60.0 µs, 5.00x as fast as exact"]
    table = "\n".join(report.exchange_table(records, "deepseek_v3", 350.0))
    assert "messages, exact" in table and "messages, padded" in table


def test_python_is_compared_with_the_c_api():
    shape = dict(model="deepseek_v3", tokens=128, layout="rank_major", op="dispatch_and_combine", gb_per_s=1.0)
    records = [{**record(series, median, **shape), "mode": "graph"}
               for series, median in (("c_api", 20.0), ("python", 20.2))]
    assert list(report.package_table(records)) == [
        "deepseek_v3, 128 tokens, dispatch and combine into given outputs, graph: "
        "C API 20.00 µs, Python 20.20 µs, 1.010x"]


def test_both_ends_of_a_combine_are_shown_and_one_is_compared():
    """That which the hand-written kernel of the layout has."""
    shape = dict(model="deepseek_v3", tokens=16, op="combine", mode="graph", blocks=16, gb_per_s=100.0)
    records = []
    for layout, told, deferred in (("rank_major", 10.0, 7.0), ("slab", 9.0, 6.0)):
        records.append(record("hand", 12.0, layout=layout, **shape))
        records.append(record("ours", told, layout=layout, defer_release=False, **shape))
        records.append(record("ours", deferred, layout=layout, defer_release=True, **shape))
    table = list(report.exchange_table(records, "deepseek_v3", 350.0))
    for layout, told, deferred in (("rank_major", 10.0, 7.0), ("slab", 9.0, 6.0)):
        lines = [text for text in table if f"ours {layout}" in text]
        assert [float(text.split()[2]) for text in lines] == [told, deferred]
        assert ["release deferred" in text for text in lines] == [False, True]
    assert any("ours combine, 16 tokens, slab, graph" in text and " 6.0 µs" in text
               for text in report.targets_table(records, 350.0))
    compared = list(report.against_hand(records))
    assert "  1.200x  deepseek_v3, rank_major, 16, combine, graph, 16 blocks" in compared
    assert "  2.000x  deepseek_v3, slab, 16, combine, graph, 16 blocks" in compared
    assert not any("1.714x" in text or "1.333x" in text for text in compared)


def test_ours_is_compared_with_hand_written_kernels_in_three_ways():
    shape = dict(model="olmoe", tokens=16, layout="slab", op="combine")
    records = [
        record("hand", 10.0, variant="slab", blocks=16, **shape),
        record("hand", 8.0, variant="slab", blocks=132, **shape),
        record("hand", 1.0, variant="slab_rows_only", blocks=132, **shape),
        record("ours", 9.0, blocks=0, **shape),
        record("ours", 7.0, blocks=16, **shape),
        record("ours", 12.0, blocks=132, **shape),
        record("ours", 12.0, blocks=24, **shape),
        # Another mode, of which there is nothing hand-written.
        {**record("ours", 5.0, blocks=16, **shape), "mode": "graph"},
    ]
    name = "olmoe, slab, 16, combine, eager"
    assert list(report.against_hand(records)) == [
        "ours against hand-written, fastest against fastest: 1 pairs, 0 slower; the slowest:",
        f"  1.143x  {name}, 16 blocks",
        "ours against hand-written, the compiler's choice against fastest: 1 pairs, 1 slower; the slowest:",
        f"  0.889x  {name}, auto blocks",
        "ours against hand-written, same blocks: 2 pairs, 1 slower; the slowest:",
        f"  0.667x  {name}, 132 blocks",
        f"  1.429x  {name}, 16 blocks",
    ]


def test_tables_of_results_that_are_kept(tmp_path, capsys, monkeypatch):
    paths = []
    for i, records in enumerate((sample_records()[:3], sample_records()[3:])):
        paths.append(tmp_path / f"{i}.json")
        paths[-1].write_text(json.dumps({"records": records}))
    monkeypatch.setattr(sys, "argv", ["gpu_exchange.py", "tables", *map(str, paths)])
    assert gpu_exchange.main() == 0
    assert capsys.readouterr().out == "\n".join(report.tables(sample_records())) + "\n"


def test_tables_of_nothing():
    assert "0 measurements" in "\n".join(report.tables([]))


def test_a_result_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "result.json"
    report.write(path, report.document([{"kind": "a"}], {}, {"commit": "c"}, complete=False))
    assert json.loads(path.read_text())["complete"] is False
    with pytest.raises(TypeError):
        report.write(path, {"records": object()})
    assert json.loads(path.read_text())["records"] == [{"kind": "a"}]
    assert list(tmp_path.iterdir()) == [path]
