# ===- problem.py - what an exchange starts from and has to give -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Inputs, expected results and bytes of an exchange."""

from . import data, routing, shapes


class Problem:
    """Inputs, expected results and bytes of one shape. Rows cross the links as in
    the layout `sends`, which is the same unless it is named."""

    def __init__(self, this, unit, layout, sends=None):
        self.model = shapes.find(unit["model"])
        self.tokens, self.layout = unit["tokens"], layout
        self.inputs = [data.Inputs(self.model, self.tokens, this.config["seed"], r, this.device)
                       for r in range(this.ranks)]
        self.mine = self.inputs[this.rank]
        self.expected = data.Expected(self.model, layout, self.inputs, this.rank)
        sent = [routing.rows_to_ranks(d.idx.cpu().numpy(), this.ranks, self.model.experts, sends or layout)
                for d in self.inputs]
        self.row_bytes = self.model.hidden * 2
        self.dispatch_bytes = routing.bytes_out(sent[this.rank], this.rank, self.row_bytes)
        self.combine_bytes = routing.combine_bytes_out(sent, this.rank, self.row_bytes)
        self.key = {"model": self.model.name, "layout": layout, "tokens": self.tokens}

    def expected_combine(self, this, weighted, x=None):
        """Of this rank's tokens, or of others with the same experts."""
        mine = self.mine if x is None else self.mine.with_tokens(x)
        return data.expected_combine(self.model, self.layout, mine, this.ranks, weighted)
