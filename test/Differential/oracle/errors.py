#===- errors.py - errors that the specification asks for -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Run-time errors the specification asks for, and the checks that ops share."""

INVALID_EXPERT = "invalid expert"
CAPACITY_EXCEEDED = "capacity exceeded"
INVALID_COUNT = "invalid count"
TOO_MANY_TOKENS = "too many tokens"


class SpecifiedError(Exception):
    """A run-time error the specification asks for.

    `seen` holds the values of which the report must show one; `expected`, when
    not None, is a number that it must show as well; `ranks` are the ranks of
    which it must name one.
    """

    def __init__(self, kind, seen=(), expected=None, ranks=()):
        super().__init__(f"{kind}: seen one of {seen}, expected {expected}")
        self.kind = kind
        self.seen = list(seen)
        self.expected = expected
        self.ranks = list(ranks)


def check_tokens(attrs, counts):
    over = [r for r, count in enumerate(counts) if count > attrs.t_max]
    if over:
        raise SpecifiedError(
            TOO_MANY_TOKENS, [counts[r] for r in over], attrs.t_max, over
        )


def check_rows(send_row, capacity):
    bad = [
        (rank, int(row))
        for rank, rows in enumerate(send_row)
        for row in rows.reshape(-1)
        if not -1 <= int(row) < capacity
    ]
    if bad:
        raise SpecifiedError(
            INVALID_COUNT, [row for _, row in bad], None, [r for r, _ in bad]
        )
