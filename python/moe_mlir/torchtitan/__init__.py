# ===- __init__.py - exchanges for models of torchtitan -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A token dispatcher for the Mixture-of-Experts layers of torchtitan.

A configuration of torchtitan takes it by an override; no model is changed::

    --override.imports 'moe_mlir.torchtitan.token_dispatcher={"hidden_dim": 2048, ...}'

docs/Torchtitan.md has the whole program, and the versions that it was tried with.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torchtitan.config import derive, override
from torchtitan.distributed import activation_checkpoint
from torchtitan.models.common.token_dispatcher import BaseEPTokenDispatcher

from moe_mlir.torchtitan.checkpoint import SelectiveAC
from moe_mlir.torchtitan.dispatcher import TokenDispatcher

__all__ = ["SelectiveAC", "TokenDispatcher", "selective_ac", "token_dispatcher"]

_NAME = "moe_mlir.torchtitan.token_dispatcher"

# What other dispatchers of torchtitan call what ours has as well.
_OTHER_NAMES = {"non_blocking_capacity_factor": "capacity_factor"}


# Overrides are named by the module that has them and their own name, so they are here.
@override(  # type: ignore[untyped-decorator] # without torchtitan it is Any
    target=BaseEPTokenDispatcher.Config,
    description="Exchange tokens by moe-mlir.",
)
def token_dispatcher(cfg: Any, **fields: Any) -> Any:
    """Put a :class:`TokenDispatcher` in the place of any dispatcher between ranks.

    Parameters
    ----------
    cfg : BaseEPTokenDispatcher.Config
        What the model has; fields that ours has as well are taken from it. So
        `hidden_dim` and `num_max_tokens_per_rank` are known where torchtitan has
        filled them in, as it does for "deepep" and "hybridep".
    **fields
        Other fields of ``TokenDispatcher.Config``, and those that `cfg` has not.

    Returns
    -------
    TokenDispatcher.Config

    Raises
    ------
    ValueError
        There is no such field, or one without a default is given by neither.
    """
    known = {field.name: field for field in dataclasses.fields(TokenDispatcher.Config)}
    unknown = sorted(fields.keys() - known.keys())
    if unknown:
        raise ValueError(
            f"{_NAME}: expected fields of TokenDispatcher.Config ({', '.join(known)}), got "
            f"{', '.join(unknown)}"
        )
    taken = {}
    for field in dataclasses.fields(cfg):
        name = _OTHER_NAMES.get(field.name, field.name)
        value = getattr(cfg, field.name)
        if name in known and value is not None:
            taken[name] = value
    taken.update(fields)
    missing = [
        name
        for name, field in known.items()
        if name not in taken
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(
            f"{_NAME}: expected {', '.join(missing)}, which {type(cfg).__qualname__} does not "
            f"say, got {', '.join(sorted(fields)) or 'no fields'}"
        )
    return TokenDispatcher.Config(**taken)


@override(  # type: ignore[untyped-decorator] # without torchtitan it is Any
    target=activation_checkpoint.SelectiveAC.Config,
    description="Keep what moe-mlir has exchanged.",
)
def selective_ac(cfg: Any) -> Any:
    """Put a :class:`SelectiveAC` in the place of torchtitan's."""
    return derive(cfg, SelectiveAC.Config)
