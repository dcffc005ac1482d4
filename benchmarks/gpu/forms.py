# ===- forms.py - artifacts of several compilers or options -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A form is a compiler with options. Each has a folder of artifacts; what is the same
as in the first form is left out. This file needs neither torch nor a GPU."""

import dataclasses
from pathlib import Path

from . import modules, report, shapes
from .shapes import PAIR

TOKENS = (1, 8, 32, 128, 512, 1024, 4096, 8192)
# What is measured beside the exchanges of the quick model that the compiler chooses.
LISTED_TOKENS = (128, 1024, 4096)
EXPERT_TOKENS = (8, 128, 1024, 4096)
NAMES = {PAIR: "pair"}


@dataclasses.dataclass(frozen=True)
class Form:
    """The first one is what others are compared with."""

    name: str
    compiler: Path
    options: tuple[str, ...] = ()
    # Of the quick model alone, with these numbers of tokens; None: everything.
    tokens: tuple[int, ...] | None = None

    def has(self, model, tokens):
        return self.tokens is None or (model.name == shapes.QUICK_MODEL and tokens in self.tokens)


def parse_form(text):
    """NAME=COMPILER[,OPTION...][@TOKENS:TOKENS...]"""
    name, _, what = text.partition("=")
    what, at, tokens = what.partition("@")
    compiler, *options = what.split(",")
    if not name or not compiler:
        raise ValueError(f"'{text}' is not NAME=COMPILER[,OPTION...][@TOKENS:TOKENS...]")
    return Form(name, Path(compiler), tuple(options), tuple(map(int, tokens.split(":"))) if at else None)


def points(models, tokens_of_run):
    """(model, tokens, layout, variant) of a run."""
    for model in models:
        for tokens in tokens_of_run:
            for layout in ("slab", "rank_major"):
                yield model, tokens, layout, None
                if model.name == shapes.QUICK_MODEL and tokens in LISTED_TOKENS:
                    yield model, tokens, layout, shapes.LISTED
        if model.name == shapes.QUICK_MODEL:
            for tokens in sorted({*EXPERT_TOKENS} & {*tokens_of_run}):
                for variant in shapes.VARIANTS["expert_major"]:
                    yield model, tokens, "expert_major", variant


def prepare(forms, target, options, folder, ranks, wanted, jobs):
    """Compiles all points in all forms; (artifacts of each form, failures)."""
    counts, failures = {}, {}
    for form in forms:
        artifacts = [modules.Artifact(modules.exchange_name(model.name, tokens, layout, 0, variant),
                                      modules.exchange_module(model, ranks, tokens, layout, variant), form.options)
                     for model, tokens, layout, variant in wanted if form.has(model, tokens)]
        counts[form.name], failed = modules.prepare(form.compiler, target, options, folder / form.name, artifacts, jobs)
        failures |= {f"{form.name}/{name}": why for name, why in failed.items()}
        if form != forms[0]:
            for made in (folder / form.name).glob("*.so"):
                first = folder / forms[0].name / made.name
                if first.exists() and first.read_bytes() == made.read_bytes():
                    made.unlink()
                    counts[form.name] -= 1
    (folder / "forms").write_text("\n".join(form.name for form in forms) + "\n")
    return counts, failures


def form_names(folder):
    return (folder / "forms").read_text().split()


def artifacts_of(folder, model, tokens):
    """(form, layout, variant, path) of a shape, the first form first."""
    for layout in ("slab", "rank_major", "expert_major"):
        for variant in shapes.VARIANTS[layout]:
            for form in form_names(folder):
                path = folder / form / modules.exchange_name(model, tokens, layout, 0, variant)
                if path.exists():
                    yield form, layout, variant, path


def plan(folder, models, tokens_of_run):
    """A unit for each shape of which there is an artifact, the most telling first."""
    shapes_of_run = [(model.name, tokens) for model in models for tokens in sorted(
        {*tokens_of_run}, key=lambda t: (t not in (128, 1024, 4096), t))]
    return [{"kind": "turns", "model": model, "tokens": tokens} for model, tokens in shapes_of_run
            if any(artifacts_of(folder, model, tokens))]


# --- the table ------------------------------------------------------------------ #


def median(records, **wanted):
    found = report.select(records, **wanted)
    return found[0]["median_us"] if found else None


def ratio(theirs, ours):
    return f"{theirs / ours:.3f}" if theirs and ours else "-"


def against_peer(records, kind, first):
    """A line for each shape: times of the peer over ours, of pairs in a graph and of
    eager calls."""
    yield f"{kind} over ours: pair in a graph (eager dispatch, eager combine)"
    shapes_of_run = dict.fromkeys((r["model"], r["tokens"]) for r in report.select(records, series=kind))
    for model, tokens in shapes_of_run:
        same = dict(model=model, tokens=tokens)
        pair = median(records, series=kind, op=PAIR, **same)
        text = f"{model:14} {tokens:5} {pair:7.1f}"
        for layout in ("slab", "rank_major"):
            ours = dict(series="ours", layout=layout, form=first, variant=None, **same)
            text += f" | {layout} {median(records, op=PAIR, **ours) or float('nan'):7.1f}"
            for op in (PAIR, "dispatch", "combine"):
                found = ratio(median(records, series=kind, op=op, **same), median(records, op=op, **ours))
                text += f" {found}" if op == PAIR else f" {found}".replace(" ", " (" if op == "dispatch" else ", ")
            text += ")"
        yield text


def grouped(records, choose):
    """By exchange of ours: what it is called, and the times of its operations by form."""
    groups = {}
    for r in report.select(records, series="ours"):
        if choose(r):
            ends = " deferred" if r["defer_release"] else ""
            name = f"{r['model']} {r['layout']} {r['tokens']} {r.get('variant') or '-'}{ends}"
            groups.setdefault(name, {}).setdefault(r["form"], {})[NAMES.get(r["op"], r["op"])] = r["median_us"]
    return groups


def times(records, form, title, choose):
    """A line for each exchange of ours that `choose` takes, in that form."""
    lines = [f"{name}: {', '.join(f'{op} {us:.1f}' for op, us in by_form[form].items())}"
             for name, by_form in grouped(records, choose).items() if form in by_form]
    return [title, *lines] if lines else []


def against_first(records, first):
    """A line for each exchange and other form: its times, and over those of the first."""
    lines = []
    for name, by_form in grouped(records, lambda r: True).items():
        base = by_form.pop(first, {})
        for form, found in by_form.items():
            figures = [f"{op} {us:.1f} ({ratio(us, base.get(op))})" for op, us in found.items()]
            lines.append(f"{name}, {form}: {', '.join(figures)}")
    return [f"forms that differ (over {first})", *lines] if lines else []


def tables(records):
    form_order = list(dict.fromkeys(r["form"] for r in report.select(records, series="ours")))
    first = form_order[0] if form_order else None
    for kind in dict.fromkeys(r["series"] for r in records if r.get("series", "ours") != "ours"):
        yield from against_peer(records, kind, first)
    by_lists = (None, shapes.LISTED)
    yield from times(records, first, "lists beside none", lambda r: r["layout"] != "expert_major" and r.get(
        "variant") in by_lists and r["model"] == shapes.QUICK_MODEL and r["tokens"] in LISTED_TOKENS)
    yield from times(records, first, "by expert", lambda r: r["layout"] == "expert_major")
    yield from against_first(records, first)
    wrong = [r for r in records if r.get("correct") is False]
    failures = [r for r in records if "failed" in r]
    skipped = [r for r in records if "skipped" in r]
    yield (f"{len(records) - len(failures) - len(skipped)} measurements, {len(wrong)} with wrong results, "
           f"{len(failures)} failed or not run")
    for r in wrong[:8]:
        yield "  wrong: " + ", ".join(f"{k}={r[k]}" for k in
                                      ("series", "form", "op", "model", "layout", "tokens", "variant", "note") if k in r)
    for r in skipped:
        yield f"  skipped: {r['kind']}: {r['skipped']}"
    for r in failures[:8]:
        yield f"  failed: {r['model']} {r['tokens']}: {report.short(r['failed'])}"
