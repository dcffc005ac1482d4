# ===- plans.py - the exchanges of frameworks.py -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The plans that frameworks call, and their artifacts."""

from moe_mlir.exchange import Exchange

from . import modules, shapes

# How a plan is used: layers with gradients, or calls that copy nothing.
USES = {
    "training": {"gradients": True},
    "zero_copy": {"symmetric_recv": True, "symmetric_y": True},
}
LAYOUTS = ("rank_major", "expert_major")


def plan(model, tokens, layout, use):
    return Exchange(num_experts=model.experts, top_k=model.top_k, hidden=model.hidden, dtype="bf16", max_tokens=tokens,
                    layout=layout, combine_weights=layout == "expert_major", **USES[use])


def name(model, tokens, layout, use):
    return f"{model.name}-{layout}-t{tokens}-{use}.so"


def units(model, quick, training_tokens, captured_tokens):
    """Units of work, in the form of shapes.plan."""
    shape = {"model": model.name}
    training = [{"kind": "training", "layout": layout, "tokens": training_tokens, **shape} for layout in LAYOUTS]
    captured = [{"kind": "captured", "layout": "rank_major", "tokens": captured_tokens, "use": use, **shape}
                for use in USES]
    return [training[0], *captured] + ([] if quick else training[1:])


def wanted(ranks, units_of_run):
    """The artifacts of units."""
    texts = {}
    for unit in units_of_run:
        model, use = shapes.find(unit["model"]), unit.get("use", "training")
        made = plan(model, unit["tokens"], unit["layout"], use)
        texts[name(model, unit["tokens"], unit["layout"], use)] = made.mlir(ranks)
    return [modules.Artifact(key, text) for key, text in texts.items()]
