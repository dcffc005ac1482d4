#===- test_padding.py - that tests of padding can fail -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The cases of dispatch_s12 receive into memory that is not zero before: without
`padding` their rows without a token hold noise."""

import numpy as np
import pytest

from cases import fixed_case, fixed_recipes
from harness import RUN_SECONDS, Modules, Run, read_npy
from moe_ops import Dispatch
from oracle import DTYPES, bits
from test_differential import bin_dir

RECIPES = {name: rest for name, *rest in fixed_recipes()}


@pytest.mark.parametrize("layout", ("rank_major", "expert_major", "slab"))
def test_memory_is_not_zero_before(layout, request, tmp_path):
    seed = request.config.option.moe_seed
    name = f"padding_{layout}_6_experts"
    build, fixed = RECIPES[name]
    case = fixed_case(seed, name, build, {**fixed, "padding": "none"})
    run = Run(Modules(bin_dir(), tmp_path, [case]), case)
    run.execute(RUN_SECONDS)
    assert run.code == 0, run.err
    expected = dict(zip(case.entry.returned, case.expected()))
    (dispatch,) = (
        op for op in case.entry.body
        if isinstance(op, Dispatch) and "recv_x" in [v.name for v in op.results]
    )
    for field in ("recv_x", "recv_scales", "recv_src_idx"):
        value = dispatch[field]
        noise = 0
        for rank in range(case.ranks):
            path = run.outputs / f"{value.name}.{rank}.npy"
            seen = bits(read_npy(path, DTYPES[value.type.dtype]))
            empty = seen[~expected[value].valid[rank]]
            none = -1 if field == "recv_src_idx" else 0
            noise += int((empty != np.array(none).astype(empty.dtype)).sum())
        assert noise > 0, f"seed {seed}: {field} has nothing to clear"
