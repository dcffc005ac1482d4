# ===- test_viz.py - what pictures show -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Pictures show the figures they are given; what cannot be drawn is named."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from moe_mlir import viz

mpl = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
mpl.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_importing_loads_no_matplotlib():
    script = "import sys, moe_mlir.viz; print('matplotlib' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False False\n"


def test_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError) as caught:
        viz.expert_load([1])
    assert str(caught.value) == "pictures need matplotlib: pip install 'moe-mlir[viz]'"


def test_traffic_has_a_cell_for_each_pair():
    axes = viz.traffic([[3, 1], [0, 2000]])
    assert texts(axes) == ["3", "1", "0", "2,000"]
    # Row s, column d: the cell of rank 0 to rank 1 is right of the first.
    assert axes.texts[1].get_position() == (1, 0)
    assert axes.images[0].get_array().tolist() == [[3, 1], [0, 2000]]
    in_bytes = viz.traffic([[3, 1], [0, 2000]], row_bytes=1024)
    assert texts(in_bytes) == ["3 KiB", "1 KiB", "0 B", "1.95 MiB"]
    assert in_bytes.get_title() == "Bytes sent"
    with pytest.raises(ValueError) as caught:
        viz.traffic([[1, 2]])
    assert str(caught.value) == (
        "traffic: expected a square of rows from each rank to each, got (1, 2)"
    )


def test_load_names_the_largest_over_the_mean():
    axes = viz.expert_load([4, 0, 2, 2, 2], ranks=2)
    assert [bar.get_height() for bar in axes.patches] == [4, 0, 2, 2, 2]
    assert axes.get_title() == "Rows per expert: the largest has 2.00 times the mean"
    assert axes.lines[0].get_ydata()[0] == 2
    colors = [bar.get_facecolor() for bar in axes.patches]
    # Rank 0 has the odd expert: three of five.
    assert colors[0] == colors[2] != colors[3] == colors[4]
    assert (
        viz.expert_load([0, 0]).get_title() == "Rows per expert: the largest has - times the mean"
    )
    with pytest.raises(ValueError) as caught:
        viz.expert_load([])
    assert str(caught.value) == "expert_load: expected one count per expert, got shape (0,)"
    with pytest.raises(ValueError) as caught:
        viz.expert_load([1], ranks=0)
    assert str(caught.value) == "expert_load: expected at least one rank, got 0"


RECORD = {
    "op": "dispatch",
    "mode": "eager",
    "layout": "slab",
    "model": "m",
    "series": "ours",
    "bytes_out": [1000, 3000],
    "gb_per_s": 10.0,
}


def test_bandwidth_takes_the_fastest(tmp_path):
    records = [
        RECORD,
        {**RECORD, "gb_per_s": 12.0},
        {**RECORD, "gb_per_s": 90.0, "correct": False},
        {**RECORD, "gb_per_s": 80.0, "failed": "a rank died"},
        {**RECORD, "gb_per_s": 70.0, "variant": "rows_only"},
        {**RECORD, "gb_per_s": 60.0, "mode": "graph"},
        {**RECORD, "bytes_out": [500], "gb_per_s": 5.0},
        {**RECORD, "series": "nccl", "gb_per_s": 1.0},
        {**RECORD, "model": "other", "gb_per_s": 50.0},
    ]
    document = {"records": records, "ceiling_gb_per_s": 20.0, "machine": {"gpus": ["G", "G"]}}
    file = tmp_path / "result.json"
    file.write_text(json.dumps(document))
    for result in (document, file):
        axes = viz.bandwidth(result, layout="slab")
        ours, nccl, ceiling = axes.lines
        assert (list(ours.get_xdata()), list(ours.get_ydata())) == ([500, 2000], [5.0, 12.0])
        assert list(nccl.get_ydata()) == [1.0]
        assert ceiling.get_ydata()[0] == 20.0
        assert axes.get_title() == "dispatch, slab, m, 2 x G"
    with pytest.raises(ValueError) as caught:
        viz.bandwidth(document, op="combine", layout="slab")
    assert str(caught.value) == (
        "bandwidth: expected measurements of combine, slab, eager in the result, found none; "
        "models: none"
    )
    for wrong, name in ({}, "the fields []"), ([], "list"), ({"a": 1}, "the fields ['a']"):
        file.write_text(json.dumps(wrong))
        with pytest.raises(ValueError) as caught:
            viz.bandwidth(file)
        assert str(caught.value) == (
            "bandwidth: expected a result of benchmarks/gpu_exchange.py, which has 'records', "
            f"got {name}"
        )


def test_phases_are_one_behind_the_other():
    def row(phase, calls, ns):
        return {"op": "moe.dispatch", "phase": phase, "calls": calls, "ns": ns}

    zero = [row("count", 2, 4000), row("put", 2, 10000)]
    one = [
        SimpleNamespace(op="moe.dispatch", phase="put", calls=1, seconds=3e-6),
        SimpleNamespace(op="", phase="compute", calls=0, seconds=0.0),
    ]
    axes = viz.phases([zero, one])
    bars = [(p.get_x(), p.get_width(), round(p.get_y() + p.get_height() / 2)) for p in axes.patches]
    # count: rank 0, rank 1; put; compute.
    assert bars == [
        (0, 2.0, 0),
        (0, 0.0, 1),
        (2.0, 5.0, 0),
        (0.0, pytest.approx(3.0), 1),
        (7.0, 0.0, 0),
        (pytest.approx(3.0), 0.0, 1),
    ]
    _, labels = axes.get_legend_handles_labels()
    assert labels == ["moe.dispatch count", "moe.dispatch put", "compute"]
    with pytest.raises(ValueError) as caught:
        viz.phases([[], []])
    assert str(caught.value) == "phases: expected timings of at least one rank, got none"
    with pytest.raises(TypeError) as wrong:
        viz.phases([[{"op": "moe.dispatch"}]])
    assert str(wrong.value) == ("phases: expected timings with 'phase', got {'op': 'moe.dispatch'}")


def test_axes_can_be_given():
    figure, places = pyplot.subplots(1, 2)
    assert viz.traffic([[1]], axes=places[0]) is places[0]
    assert viz.expert_load([1], axes=places[1]) is places[1]
    assert len(figure.axes) == 2
