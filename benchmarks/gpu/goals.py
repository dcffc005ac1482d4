# ===- goals.py - what exchanges called from frameworks reach -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""From records to the table of frameworks.py: each figure beside its goal."""

import dataclasses

from . import report


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure: a time over another one, or a time alone where `over` is empty."""

    name: str
    of: dict
    over: dict
    wanted: float
    is_least: bool = False
    unit: str = ""

    def value(self, records):
        """None where a record is missing or wrong."""
        found = [report.fastest(report.select(records, **keys)) for keys in (self.of, self.over or self.of)]
        if None in found:
            return None
        times = [record["median_us"] for record in found]
        return times[0] / times[1] if self.over else times[0]

    def holds(self, value):
        return value >= self.wanted if self.is_least else value <= self.wanted


def goals(training_tokens, captured_tokens):
    def passes(layout, series):
        return {"op": "forward_and_backward", "layout": layout, "series": series, "tokens": training_tokens}

    def exchange(series, **more):
        return {"op": "dispatch_and_combine", "layout": "rank_major", "series": series, **more}

    made = []
    for call in ("dispatch", "combine", "dispatch_grad", "combine_grad"):
        is_grad = call.endswith("_grad")
        name = f"CPU of {call.removesuffix('_grad')}, {'with' if is_grad else 'without'} grad"
        made.append(Goal(name, {"op": call, "series": "cpu"}, {}, 40 if is_grad else 20, unit=" us"))
    for layout in ("rank_major", "expert_major"):
        made.append(Goal(f"forward + backward, {layout}: bare / torch", passes(layout, "bare"),
                         passes(layout, "torch"), 0.95, is_least=True))
    made.append(Goal("forward + backward: torch + NCCL / ours", passes("rank_major", "nccl"),
                     passes("rank_major", "torch"), 3, is_least=True))
    made.append(Goal(f"JAX, {training_tokens} tokens: JAX / bare", exchange("jax", tokens=training_tokens),
                     exchange("bare", tokens=training_tokens), 1.15))
    for use in ("training", "zero_copy"):
        graph = {"mode": "graph", "use": use, "tokens": captured_tokens}
        made.append(Goal(f"torch.cuda.graph, {captured_tokens} tokens, {use}: torch / bare",
                         exchange("torch", **graph), exchange("bare", **graph), 1.03))
    return made


def copies(records):
    """What XLA copies, in words."""
    for record in report.select(records, series="jax"):
        found = record["copies"]
        said = ", ".join(copy["shape"] for copy in found) or "nothing"
        return f"XLA copies beside the calls of an exchange: {said} ({sum(copy['bytes'] for copy in found)} bytes)"
    return "XLA copies: not seen"


def tables(records, training_tokens, captured_tokens):
    lines = [f"{'figure':<58}{'measured':>10}{'goal':>10}"]
    for goal in goals(training_tokens, captured_tokens):
        value = goal.value(records)
        sign = ">=" if goal.is_least else "<="
        wanted = f"{sign} {goal.wanted}{goal.unit}"
        if value is None:
            lines.append(f"{goal.name:<58}{'-':>10}{wanted:>10}")
        else:
            missed = "" if goal.holds(value) else "  missed"
            lines.append(f"{goal.name:<58}{value:>10.2f}{wanted:>10}{missed}")
    lines += ["", copies(records), "", f"{'what':<58}{'us':>10}{'p10':>10}{'p90':>10}"]
    for record in records:
        what = " ".join(str(record[key]) for key in ("layout", "tokens", "series", "op", "mode", "use") if key in record)
        if "failed" in record:
            lines.append(f"{what or record.get('kind')}: failed: {report.short(record['failed'])}")
            continue
        spread = "".join(f"{record[key]:>10.2f}" for key in ("p10_us", "p90_us") if key in record)
        note = "" if report.good(record) else f"  {record.get('note', 'wrong')}"
        lines.append(f"{what:<58}{record['median_us']:>10.2f}{spread}{note}")
    return lines
