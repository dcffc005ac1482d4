# ===- checkpoint.py - selective checkpointing that keeps exchanges -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""torchtitan's selective activation checkpointing, which knows our operators."""

from __future__ import annotations

import dataclasses
from typing import Any

from torchtitan.distributed import activation_checkpoint

from moe_mlir.torch.operators import OPS


class SelectiveAC(activation_checkpoint.SelectiveAC):  # type: ignore[misc] # may be Any
    """Keeps what was exchanged, as torchtitan's own does for dispatchers it knows.

    Without it, the backward pass exchanges everything again, which is as right, and
    slower.
    """

    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config(activation_checkpoint.SelectiveAC.Config):  # type: ignore[misc]
        """Fields of torchtitan's own."""

    def get_save_ops(self) -> set[Any]:
        """Operators whose results are kept."""
        kept: set[Any] = super().get_save_ops()
        return kept | {OPS.dispatch.default, OPS.dispatch_kept.default, OPS.combine.default}
