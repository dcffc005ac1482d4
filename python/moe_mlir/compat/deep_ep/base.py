# ===- base.py - what both kinds of buffers are -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What V1's and V2's buffers have in common: exchanges, streams, and an end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moe_mlir.compat.deep_ep.engine import Engine
from moe_mlir.compat.deep_ep.streams import Streams
from moe_mlir.exchange import Exchange


class BaseBuffer:
    """A buffer of some version.

    Parameters
    ----------
    engine : Engine
        Its exchanges.
    explicitly_destroy : bool
        Whether `destroy` ends the buffer.
    """

    def __init__(self, engine: Engine, explicitly_destroy: bool) -> None:
        self._engine = engine
        self._streams = Streams(engine.group, engine.device)
        self.explicitly_destroy = explicitly_destroy

    def destroy(self) -> None:
        """Leave the group.

        Raises
        ------
        RuntimeError
            The buffer was not made with `explicitly_destroy`.
        """
        if not self.explicitly_destroy:
            raise RuntimeError("destroy: expected a buffer with explicitly_destroy = True")
        self._engine.close()

    def use_artifacts(self, artifacts: Mapping[Exchange, Any]) -> None:
        """Take exchanges that were compiled elsewhere; not in DeepEP.

        Parameters
        ----------
        artifacts : mapping from Exchange to artifact
            What `Group.load` takes, for plans of :mod:`moe_mlir.compat.plans`. All ranks have
            the same.
        """
        self._engine.use(artifacts)

    def get_comm_stream(self) -> Any:
        """The stream of asynchronous calls."""
        return self._streams.own
