# ===- refusals.py - calls that are refused -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What tests of bad input share."""

import re

import pytest
from layer import USUAL, case

F32 = {**USUAL, "dtype": "f32"}


def refused(kind, message, call, *arguments, **options):
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert re.search(message, text), text
    return caught.value


def on_each(threads, plan, function, ranks=2):
    """Run `function(ep, case)` on ranks with 4 tokens each."""
    return threads(ranks, plan, lambda ep: function(ep, case(plan, ep.group.rank, 1, 4)))
