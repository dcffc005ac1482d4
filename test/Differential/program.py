#===- program.py - modules as text and as calls of the oracle -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""A small program of moe ops with two readings: MLIR text and the oracle.

A `Function` lists arguments, ops and returned values. `module_text` prints any
number of functions as one module; `evaluate` runs one on the oracle.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ir import Data, Env, Op, Value, functional_type


class Double(Op):
    """x + x: a stand-in for the experts, exact in every element type."""

    mnemonic = "linalg.add"

    def __init__(self, name, x):
        assert None not in x.type.shape
        self.x = x
        self.empty = Value(f"{name}_empty", x.type)
        self.results = [Value(name, x.type)]

    def text(self):
        t = self.x.type
        add = self.assign(
            f"linalg.add ins({self.x}, {self.x} : {t}, {t}) "
            f"outs({self.empty} : {t}) -> {t}"
        )
        return f"{self.empty} = tensor.empty() : {t}\n{add}"

    def evaluate(self, env):
        x = env[self.x]
        with np.errstate(all="ignore"):
            arrays = [(a + a).astype(a.dtype) for a in x.arrays]
        env[self.results[0]] = Data(arrays, x.valid, loose=True)


class Call(Op):
    mnemonic = "func.call"

    def __init__(self, prefix, callee, operands):
        self.callee, self.operands, self.prefix = callee, operands, prefix
        self.results = [
            Value(f"{prefix}{v.name}", v.type) for v in callee.returned
        ]

    def text(self):
        args = ", ".join(map(str, self.operands))
        types = functional_type(self.operands, self.results)
        return self.assign(f"func.call @{self.callee.name}({args}) : {types}")

    def evaluate(self, env):
        inputs = [env[v] for v in self.operands]
        results = self.callee.evaluate(inputs, env.exact_messages)
        for value, data in zip(self.results, results):
            env[value] = data


class Loop(Op):
    """Runs a body `rounds` times: what it returns is its argument the next time.

    The body uses values from outside of the loop, too.
    """

    mnemonic = "scf.for"

    def __init__(self, prefix, init, rounds):
        self.prefix, self.init, self.rounds = prefix, init, rounds
        self.body = Function(f"{prefix}body", [Value(f"{prefix}x", init.type)])
        self.results = [Value(f"{prefix}out", init.type)]

    def text(self):
        p, (carried,) = self.prefix, self.body.args
        lines = [
            f"%{p}{name} = arith.constant {value} : index"
            for name, value in (("zero", 0), ("one", 1), ("to", self.rounds))
        ]
        lines.append(self.assign(
            f"scf.for %{p}i = %{p}zero to %{p}to step %{p}one"
            f" iter_args({carried} = {self.init}) -> ({carried.type}) {{"
        ))
        for op in self.body.body:
            lines += ["  " + line for line in op.text().split("\n")]
        lines += [f"  scf.yield {self.body.returned[0]} : {carried.type}", "}"]
        return "\n".join(lines)

    def evaluate(self, env):
        data = env[self.init]
        for _ in range(self.rounds):
            env[self.body.args[0]] = data
            for op in self.body.body:
                op.evaluate(env)
            data = env[self.body.returned[0]]
        env[self.results[0]] = data


@dataclass(eq=False)
class Function:
    name: str
    args: list
    body: list = field(default_factory=list)
    returned: list = field(default_factory=list)
    private: bool = False
    # Arguments in memory of the symmetric heap, which the caller provides.
    symmetric: list = field(default_factory=list)
    # Results in such memory, of the caller's or of the workspace.
    symmetric_results: list = field(default_factory=list)

    def add(self, op):
        self.body.append(op)
        return op

    def text(self):
        args = ", ".join(
            f"{v}: {v.type}" + self.mark(v, self.symmetric)
            for v in self.args
        )
        results = ", ".join(
            f"{v.type}" + self.mark(v, self.symmetric_results)
            for v in self.returned
        )
        visibility = "private " if self.private else ""
        lines = [f"func.func {visibility}@{self.name}({args}) -> ({results}) {{"]
        for op in self.body:
            lines += ["  " + line for line in op.text().split("\n")]
        values = ", ".join(map(str, self.returned))
        types = ", ".join(str(v.type) for v in self.returned)
        lines += [f"  return {values} : {types}", "}"]
        return "\n".join(lines)

    def mark(self, value, symmetric):
        """The attribute that says where an argument or result of an entry lies."""
        if value in symmetric:
            return " {moe.symmetric}"
        if value.name.endswith("peer_rows") and not self.private:
            return " {moe.host}"
        return ""

    def callees(self):
        found = []
        for op in self.body:
            if isinstance(op, Call) and op.callee not in found:
                found.append(op.callee)
        return found

    def evaluate(self, inputs, exact_messages=False):
        """Runs the body on the oracle; returns the Data of each result."""
        env = Env(zip(self.args, inputs), exact_messages)
        for op in self.body:
            op.evaluate(env)
        return [env[v] for v in self.returned]


def module_text(ranks, functions):
    parts = [f"shard.grid @ep(shape = {ranks})"]
    for function in functions:
        parts += [callee.text() for callee in function.callees()]
        parts.append(function.text())
    return "\n\n".join(parts) + "\n"
