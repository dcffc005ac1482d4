# ===- test_lending.py - communicators that torch lends -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Which communicator of a process group the runtime borrows."""

import contextlib
import sys
import types

import pytest

from moe_mlir.runtime import gather


class FakeTorch(types.ModuleType):
    """What lending a communicator asks of torch."""

    class cuda:
        @staticmethod
        def device(index):
            return contextlib.nullcontext()

    @staticmethod
    def device(kind, index):
        return (kind, index)


class ProcessGroup:
    """One whose communicator is made by its first collective, as torch does."""

    def __init__(self, has_nccl=True, address=4096):
        self.has_nccl, self.address, self.used = has_nccl, address, False

    def _get_backend(self, device):
        assert device == ("cuda", 1)
        if not self.has_nccl:
            raise RuntimeError("no backend for device type cuda")
        return self

    def _comm_ptr(self):
        return self.address if self.used else 0

    def use(self, process_group, device):
        """Stands for a collective on the GPU."""
        assert (process_group, device) == (self, 1)
        self.used = True

    def gather(self, others):
        # What the ranks ask for comes first, and is the same.
        given = []

        def gather(mine, timeout):
            assert timeout == 7
            given.append(mine)
            return mine + (mine if len(given) == 1 else others)

        return gather


def test_ranks_that_ask_for_different_ones(monkeypatch):
    """Before any of them begins a collective of NCCL, which others would not come to."""
    process_group = ProcessGroup()
    monkeypatch.setattr(gather, "make_nccl", process_group.use)
    message = r"expected the same nccl on all ranks, got \['torch', 'own'\]"
    with pytest.raises(ValueError, match=message):
        gather.lend_nccl(process_group, lambda mine, timeout: mine + b"\2", 1, "torch", 7)
    assert not process_group.used


@pytest.mark.parametrize(
    ("process_group", "whose", "other", "lent"),
    [
        (ProcessGroup(), None, b"\1", 4096),
        (ProcessGroup(), None, b"\0", None),  # another rank has none
        (ProcessGroup(has_nccl=False), None, b"\1", None),
        (ProcessGroup(), "own", b"\0", None),
        (ProcessGroup(), "torch", b"\1", 4096),
        (ProcessGroup(address=0), "torch", b"\0", 0),  # which the runtime refuses
    ],
)
def test_communicator_that_torch_lends(monkeypatch, process_group, whose, other, lent):
    monkeypatch.setitem(sys.modules, "torch", FakeTorch("torch"))
    monkeypatch.setattr(gather, "make_nccl", process_group.use)
    every = process_group.gather(other)
    assert gather.lend_nccl(process_group, every, 1, whose, 7) == lent
    assert process_group.used == (whose != "own")
