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
        def gather(mine, timeout):
            assert timeout == 7
            return mine + others

        return gather


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
