#===- __init__.py - the ops of the moe dialect in numpy -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What every op of the `moe` dialect means, for all ranks at once.

Written from docs/Spec.md alone and kept as plain as possible: this is the
second opinion the compiler is compared with, so it shares nothing with it.
All functions take and return lists with one array per rank. Rows that the
specification leaves open are filled with a poison pattern and are False in the
`valid` masks that come with the results.
"""

from .alltoallv_op import alltoallv
from .attributes import CombineAttrs, DispatchAttrs
from .combine_op import check_push, combine, combine_rows
from .dispatch_op import dispatch
from .errors import (
    CAPACITY_EXCEEDED, INVALID_COUNT, INVALID_EXPERT, TOO_MANY_TOKENS, SpecifiedError,
)
from .placement import (
    max_local_experts, merge_repeated, owned_experts, owner, row_places,
)
from .reuse_op import dispatch_reuse
from .rows import rows_needed
from .values import DTYPES, FLOATS, bits, is_float, poison

__all__ = [
    "CAPACITY_EXCEEDED", "CombineAttrs", "DTYPES", "DispatchAttrs", "FLOATS",
    "INVALID_COUNT", "INVALID_EXPERT", "SpecifiedError", "TOO_MANY_TOKENS",
    "alltoallv", "bits", "check_push", "combine", "combine_rows", "dispatch",
    "dispatch_reuse", "is_float", "max_local_experts", "merge_repeated",
    "owned_experts", "owner", "poison", "row_places", "rows_needed",
]
