#===- test_shares.py - shares of the fixed cases -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What a run with --moe-share draws."""

from types import SimpleNamespace

import pytest

from cases import share_of

CASES = [SimpleNamespace(name=f"fixed_{i}") for i in range(60)] + [
    SimpleNamespace(name="random_0")
]


def names(seed, share, always=()):
    return {case.name for case in share_of(CASES, seed, share, always)}


@pytest.mark.parametrize("share", (2, 5))
def test_every_case_has_its_turn(share):
    drawn = [names(seed, share) for seed in range(40)]
    assert set().union(*drawn) == {case.name for case in CASES}
    # 40 draws of 60 cases: their mean is within a fifth of the share.
    mean = sum(len(some) - 1 for some in drawn) / len(drawn)
    assert 0.8 * 60 / share < mean < 1.2 * 60 / share


def test_random_cases_and_named_ones_are_always_drawn():
    for seed in range(20):
        assert {"random_0", "fixed_7"} <= names(seed, 30, always=["fixed_7"])


def test_a_share_of_one_is_all():
    assert len(names(3, 1)) == len(CASES)


def test_the_same_seed_draws_the_same():
    assert names(11, 4) == names(11, 4) != names(12, 4)
