# ===- test_example.py - the example and the page -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""examples/torch_moe trains as a dense model does, and the code of docs/Torch.md runs."""

import json
import os
import pathlib
import re
import subprocess
import sys

import torch

ROOT = pathlib.Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "torch_moe"
SECONDS = 400

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>.*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def execute(*command, folder, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, capture_output=True, text=True,
        timeout=SECONDS, check=False, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_losses_follow_the_dense_model(tmp_path):
    """Step by step; the example compares 200 of them, and fails itself when they part."""
    steps = 12
    said = execute(
        EXAMPLE / "train.py", "--steps", steps, "--json", "found.json", folder=tmp_path
    )
    assert "losses differ by at most" in said
    found = json.loads((tmp_path / "found.json").read_text())
    parallel, dense = (torch.tensor(found[name]) for name in ("parallel", "dense"))
    assert len(parallel) == steps
    assert torch.allclose(parallel, dense, rtol=0, atol=1e-5)
    assert found["doubt"] < 1e-5
    assert dense[-3:].mean() < dense[:3].mean() - 1
    # Each of 256 tokens has two of eight experts, in both blocks.
    load = torch.tensor(found["load"])
    assert load.shape == (steps, 2, 8)
    assert (load.sum(-1) == 512).all()


def test_experts_by_groups_and_one_by_one(monkeypatch):
    """Both ways of the example's experts, for rows that are grouped by expert."""
    monkeypatch.syspath_prepend(EXAMPLE)
    from layers import Experts

    torch.manual_seed(0)
    experts = Experts(3, 32, 64)
    counts = torch.tensor([4, 0, 7], dtype=torch.int32)
    x = torch.randn(16, 32, generator=torch.Generator().manual_seed(1)).bfloat16()
    expected = experts(x.float(), counts)
    found = experts.bfloat16()(x, counts)
    # The experts' values are rounded to 8 bits, and so is what is between them.
    assert torch.allclose(found[:11].float(), expected[:11], atol=0.05)


def test_page(tmp_path):
    """The Python of docs/Torch.md: programs that start ranks as programs, others here."""
    text = (ROOT / "docs" / "Torch.md").read_text(encoding="utf-8")
    ran = 0
    for match in FENCE.finditer(text):
        if match["language"] != "python":
            continue
        if match["reason"]:
            print(f"not run: {match['reason']}")
            continue
        line = text[: match.start("code")].count("\n")
        code = "\n" * line + match["code"]
        if "__main__" in code:
            program = tmp_path / f"program{ran}.py"
            program.write_text(code)
            execute(program, folder=tmp_path)
        else:
            exec(compile(code, "docs/Torch.md", "exec"), {"__name__": "page"})
        ran += 1
    assert ran >= 2
