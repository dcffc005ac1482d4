# ===- test_ranks.py - what tests are told when a rank fails -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A failure of one rank is reported as what it is, and the next test is not harmed."""

import os
import time

import pytest
from ranks import MAX_TIMEOUTS, SECONDS, Pool


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with Pool(2, tmp_path_factory.mktemp("ranks")) as pool:
        yield pool


@pytest.fixture
def impatient(pool):
    """The same processes, which have 10 s for what they are asked."""
    assert pool.run(add, 0) == [0, 1]
    kept, pool.seconds = pool.seconds, 10
    yield pool
    pool.seconds, pool.timeouts = kept, 0


def add(group, number):
    return number + group.rank


def fails_while_others_wait(group):
    if group.rank == 1:
        raise ValueError("rank 1 has another idea")
    waits_in_a_collective(group)


def waits_in_a_collective(group):
    import torch.distributed

    torch.distributed.barrier()


def waits_alone(group):
    if group.rank == 0:
        waits_in_a_collective(group)


def ends(group):
    if group.rank == 1:
        os._exit(7)


def test_error_is_not_hidden_by_ranks_that_wait(pool):
    begun = time.monotonic()
    with pytest.raises(AssertionError) as error:
        pool.run(fails_while_others_wait)
    assert time.monotonic() - begun < pool.seconds
    assert "rank 1: Traceback" in str(error.value)
    assert "rank 1 has another idea" in str(error.value)
    # Rank 0 either sees that its peer is gone or says where it waits.
    assert "rank 0: " in str(error.value) and "waits_in_a_collective" in str(error.value)
    assert pool.run(add, 5) == [5, 6]


def test_rank_that_hangs_shows_its_stack(impatient):
    with pytest.raises(AssertionError, match="rank 0: has not answered; it was at") as error:
        impatient.run(waits_alone)
    assert "in waits_in_a_collective" in str(error.value)
    assert "rank 1" not in str(error.value)


def test_rank_that_ends(pool):
    with pytest.raises(AssertionError, match="rank 1: ended with exit status 7"):
        pool.run(ends)
    assert pool.run(add, 1) == [1, 2]


def test_processes_that_ended_between_tests(pool):
    pool.run(add, 1)
    for process in pool.processes:
        process.kill()
        process.join()
    with pytest.raises(AssertionError, match="rank 0: ended with exit status -9"):
        pool.run(add, 1)
    assert pool.run(add, 1) == [1, 2]


def test_suite_that_hangs_ends_before_its_own_limit(impatient):
    for _ in range(MAX_TIMEOUTS):
        impatient.seconds = SECONDS
        impatient.run(add, 0)
        impatient.seconds = 3
        with pytest.raises(AssertionError, match="has not answered"):
            impatient.run(waits_alone)
    with pytest.raises(TimeoutError, match="not run: 2 earlier tests ran out of time"):
        impatient.run(add, 0)
