# ===- test_forms.py - what gpu_turns.py compiles and says -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#

import pytest

from gpu import forms, shapes
from gpu.shapes import PAIR

QUICK = shapes.choose_models([], True)


def compiler(folder, text):
    """A program that writes `text`, and whether it was told --push, to the output."""
    program = folder / f"compiler-{text}"
    program.write_text(f"""#!/bin/sh
for word in "$@"; do
  [ "$last" = -o ] && out=$word
  [ "$word" = --push ] && push=" pushes"
  last=$word
done
echo "{text}$push" >"$out"
""")
    program.chmod(0o755)
    return program


def test_a_form_names_a_compiler_and_options():
    form = forms.parse_form("few=bin/moe-compile,--blocks=16,--team=4")
    assert (form.name, str(form.compiler), form.options) == ("few", "bin/moe-compile", ("--blocks=16", "--team=4"))
    form = forms.parse_form("push=bin/moe-compile,--push@128:4096")
    assert (form.options, form.tokens) == (("--push",), (128, 4096))
    assert [form.has(model, 128) for model in shapes.choose_models([], False)] == [True] + [False] * 5
    with pytest.raises(ValueError):
        forms.parse_form("bin/moe-compile")


def test_artifacts_that_are_the_same_are_left_out(tmp_path):
    old, new = compiler(tmp_path, "old"), compiler(tmp_path, "new")
    chosen = [forms.Form("now", new), forms.Form("same", new), forms.Form("push", new, ("--push",)),
              forms.Form("before", old)]
    wanted = list(forms.points(QUICK, (8,)))
    counts, failed = forms.prepare(chosen, "host", [], tmp_path / "out", 2, wanted, jobs=2)
    assert not failed
    assert counts == {"now": len(wanted), "same": 0, "push": len(wanted), "before": len(wanted)}
    found = list(forms.artifacts_of(tmp_path / "out", "deepseek_v3", 8))
    assert [form for form, *_ in found] == ["now", "push", "before"] * len(wanted)
    assert [layout for _, layout, *_ in found[::3]] == ["slab", "rank_major"] + ["expert_major"] * 4
    assert forms.plan(tmp_path / "out", QUICK, (1, 8)) == [{"kind": "turns", "model": "deepseek_v3", "tokens": 8}]


def test_shapes_that_tell_most_are_measured_first(tmp_path):
    everything = shapes.choose_models([], False)
    wanted = list(forms.points(everything, forms.TOKENS))
    forms.prepare([forms.Form("now", compiler(tmp_path, "new"))], "host", [], tmp_path / "out", 2, wanted, jobs=4)
    units = [(unit["model"], unit["tokens"]) for unit in forms.plan(tmp_path / "out", everything, forms.TOKENS)]
    assert units[:3] == [("deepseek_v3", 128), ("deepseek_v3", 1024), ("deepseek_v3", 4096)]
    assert len(units) == len(set(units)) == len(everything) * len(forms.TOKENS)


def record(series, op, us, **more):
    return {"series": series, "model": "deepseek_v3", "tokens": 128, "layout": "slab", "op": op, "median_us": us,
            "correct": True, **more}


def test_table():
    ours = dict(form="now", defer_release=True)
    records = [
        {"kind": "deep_ep", "skipped": "ImportError: too old"},
        record("flashinfer", PAIR, 22.0), record("flashinfer", "dispatch", 12.0), record("flashinfer", "combine", 9.0),
        record("ours", PAIR, 20.0, **ours), record("ours", "dispatch", 10.0, **ours),
        record("ours", "combine", 10.0, **ours),
        record("ours", PAIR, 25.0, **{**ours, "layout": "rank_major"}),
        record("ours", PAIR, 22.5, **{**ours, "layout": "rank_major", "form": "before"}),
        {**record("ours", PAIR, 1.0, **{**ours, "layout": "rank_major", "form": "wrong"}), "correct": False},
    ]
    text = list(forms.tables(records))
    assert text[1] == ("deepseek_v3      128    22.0 | slab    20.0 1.100 (1.200, 0.900) | "
                       "rank_major    25.0 0.880 (-, -)")
    assert "deepseek_v3 rank_major 128 - deferred, before: pair 22.5 (0.900)" in text
    assert "9 measurements, 1 with wrong results, 0 failed or not run" in text
    assert text[-1] == "  skipped: deep_ep: ImportError: too old"
