# ===- test_groups.py - groups that exchanges have, and their end -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Several exchanges on one group, and what closes and fails a group."""

import dataclasses
import threading
import time

import jax
import layers
import numpy as np
import pytest

import moe_mlir.jax
from moe_mlir import Group, MoEError
from moe_mlir.exchange import Exchange
from moe_mlir.jax import _groups

PLAN = Exchange(**layers.USUAL, dtype="f32", layout="expert_major")
SECONDS = 20


@pytest.fixture
def groups():
    made = Group.local(2)
    yield made
    for group in made:
        group.close()


def expert_parallel(plan=PLAN, **options):
    return moe_mlir.jax.ExpertParallel(plan, layers.mesh_of(2), "ep", **options)


def test_exchanges_of_one_group_take_turns(generator, groups):
    """Nothing in the program orders them. After an error one reset is enough."""
    many = 6
    x, idx, weights, factor = layers.inputs(generator, PLAN, 2)
    wrong = idx.copy()
    wrong[7, 1] = 9
    other_plan = dataclasses.replace(PLAN, layout="rank_major")
    with (
        expert_parallel(group=groups) as one,
        expert_parallel(other_plan, group=groups) as other,
    ):

        def on_rank(x, idx, weights, factor):
            return sum(
                (i + 1) * layers.layer(ep, x + i, idx, weights, factor)
                for i in range(many)
                for ep in (one, other)
            )

        step = jax.jit(layers.spread(one, on_rank))
        expected = 2 * sum(
            (i + 1) * layers.dense(x + i, idx, weights, factor) for i in range(many)
        )
        for _ in range(5):
            assert layers.same(step(x, idx, weights, factor), expected)
        with pytest.raises(jax.errors.JaxRuntimeError):
            jax.block_until_ready(step(x, wrong, weights, factor))
        one.reset()
        assert layers.same(step(x, idx, weights, factor), expected)


def test_close_waits_for_calls_on_the_groups():
    ep = expert_parallel()
    first = threading.Thread(target=ep._groups[0].reset)
    first.start()
    end = time.monotonic() + SECONDS
    while ep._exchange.is_idle() and time.monotonic() < end:
        time.sleep(0.001)
    assert not ep._exchange.is_idle()
    second = threading.Timer(0.1, ep._groups[1].reset)
    second.start()
    ep.close()
    first.join()
    second.join()
    assert all(group.is_closed for group in ep._groups)


def test_close_that_has_failed_can_be_repeated():
    """The groups that can be closed are, whichever cannot."""
    ep = expert_parallel()
    first, second = ep._groups

    class Busy:
        is_closed = False

        def close(self):
            raise MoEError(1, "a call on the group is running in another thread")

    ep._groups = [Busy(), second]
    with pytest.raises(MoEError, match="running in another thread"):
        ep.close()
    assert second.is_closed and not first.is_closed
    ep._groups = [first, second]
    ep.close()
    assert first.is_closed and ep.is_closed


def test_an_exception_does_not_fail_groups_that_were_given(groups):
    with pytest.raises(KeyError), expert_parallel(group=groups):
        raise KeyError("mine")
    assert [group.failed_rank for group in groups] == [None, None]
    assert not any(group.is_closed for group in groups)


def test_an_exception_fails_groups_that_were_made(monkeypatch):
    told = []
    monkeypatch.setattr(Group, "fail", lambda group, message: told.append((group.rank, message)))
    with pytest.raises(KeyError), expert_parallel():
        raise KeyError("mine")
    assert told == [(0, "KeyError: 'mine'"), (1, "KeyError: 'mine'")]


def test_numbers_in_programs_are_those_of_the_mesh(monkeypatch):
    """Processes of a mesh have to trace the same program, whatever else each has made."""
    two, four = (jax.sharding.Mesh(np.array(jax.devices()[:n]), ("ep",)) for n in (2, 4))
    monkeypatch.setattr(_groups, "_exchanges", {})
    alone = [_groups.next_exchange(four, "ep") for _ in range(2)]
    monkeypatch.setattr(_groups, "_exchanges", {})
    between = []
    for _ in range(2):
        between.append(_groups.next_exchange(two, "ep"))
        assert _groups.next_exchange(four, "ep") == alone[len(between) - 1]
    assert len({*alone, *between}) == 4
    assert all(0 <= number < 2**63 for number in alone)
