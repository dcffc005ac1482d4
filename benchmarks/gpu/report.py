# ===- report.py - tables from records -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What the records say: the ceiling, the table of targets, all exchanges."""

import datetime
import json
import os
import platform
import subprocess

from . import shapes
from .peers import PEERS

TARGET_TOKENS = (4096, 128, 16)


def good(record):
    return not record.keys() & {"failed", "skipped"} and record.get("correct") is not False


def select(records, **wanted):
    return [r for r in records if good(r) and all(r.get(k) == v for k, v in wanted.items())]


def leaves_out(record):
    """Whether expert ids and weights are not sent. Before they were, records of
    torch with NCCL had no variant."""
    is_bare = record.get("series") == "nccl" and record.get("op") == "dispatch" and "variant" not in record
    return is_bare or "rows_only" in record.get("variant", "")


def does_more(record):
    """Whether a dispatch writes what those it is compared with do not."""
    return record.get("variant") == shapes.LISTED


def ends_as_hand_written(record):
    """Whether a combine tells the ranks at its end that their rows have been read
    where the hand-written one of its layout does: with slabs that does not. Until
    both forms were measured, no record said."""
    return record.get("defer_release") in (None, record.get("layout") == "slab")


def fastest(records):
    return min(records, key=lambda r: r["median_us"], default=None)


def ceiling(records):
    """GB/s of the best plain stores at the largest size."""
    stores = select(records, series="stores")
    largest = max((r["bytes_per_peer"] for r in stores), default=0)
    return max((r["gb_per_s"] for r in stores if r["bytes_per_peer"] == largest), default=None)


def describe_machine(from_rank):
    def query(*command):
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30)
            return done.stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            return ""

    gpus = query("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
    links = query("nvidia-smi", "nvlink", "--status").splitlines()
    return {
        **from_rank,
        "gpus": [g.split(",")[0].strip() for g in gpus],
        "driver": gpus[0].split(",")[1].strip() if gpus else "",
        "nvlinks": sum("GB/s" in line for line in links),
        "kernel": platform.release(),
    }


def document(records, machine, arguments, complete=True):
    return {
        "date": datetime.date.today().isoformat(),
        "commit": arguments["commit"],
        "complete": complete,
        "machine": describe_machine(machine),
        "arguments": arguments,
        "ceiling_gb_per_s": ceiling(records),
        "records": records,
    }


def write(path, content):
    """Leaves what was there before when it is cut off."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(content, separators=(",", ":")).replace('},{', '},\n{') + "\n")
    os.replace(beside, path)


def share(record, top):
    return f"{record['gb_per_s'] / top:6.2f}" if record and top else "     -"


def short(failure):
    """The line that says most: the last that names an error."""
    lines = failure.splitlines()
    return next((line for line in reversed(lines) if "Error:" in line), lines[-1]).strip()


def blocks_of(record):
    """", 16 blocks", or nothing where there is no such number."""
    if record.get("blocks") is None:
        return ""
    return f", {record['blocks'] or 'auto'} blocks"


def line(record, top):
    where = record.get("variant") or record["layout"]
    if record.get("defer_release"):
        where += ", release deferred"
    return (f"{record['median_us']:9.1f} µs [{record['p10_us']:.1f}, {record['p90_us']:.1f}] "
            f"{record['gb_per_s']:7.1f} GB/s {share(record, top)}  {where}, {record['mode']}{blocks_of(record)}")


def links_table(records):
    yield "links (GB/s that leave a GPU, slowest rank's median)"
    for series in ("stores", "bulk", "loads", "copy_engines", "byte_per_thread"):
        found = select(records, series=series)
        largest = max((r["bytes_per_peer"] for r in found), default=0)
        shown = [f"{r['blocks'] or '-'}: {r['gb_per_s']:.1f}" for r in found if r["bytes_per_peer"] == largest]
        yield f"  {series:16} {largest >> 20:3} MiB  " + "  ".join(shown)


def alltoall_table(records, top):
    yield "alltoallv (GB/s that leave a GPU; share of the store ceiling)"
    for size in sorted({r["bytes_per_peer"] for r in select(records, op="alltoallv")}, reverse=True):
        for scope in ("peers", "all"):
            for series in ("nccl", "ours"):
                best = fastest(select(records, op="alltoallv", series=series, bytes_per_peer=size, scope=scope))
                if best:
                    yield (f"  {size >> 20:3} MiB, {scope:5}  {series:5} {best['median_us']:9.1f} µs "
                           f"{best['gb_per_s']:7.1f} {share(best, top)}  {best['mode']}{blocks_of(best)}")


def exchange_table(records, model, top):
    """NCCL, other projects, hand-written and ours of one model: the fastest of each."""
    for tokens in sorted({r["tokens"] for r in select(records, model=model)}):
        for op in ("dispatch", "combine", shapes.PAIR):
            # Not every run has pairs.
            if op != shapes.PAIR or select(records, model=model, tokens=tokens, op=op):
                yield f"{model}, {tokens} tokens, {op.replace('_', ' ')}"
            rows = [("torch + NCCL", dict(series="nccl"))]
            rows += [(kind, dict(series=kind, mode=mode)) for kind in PEERS for mode in ("eager", "graph")]
            rows += [(f"messages, {variant}", dict(series="messages", variant=variant, mode=mode))
                     for variant in shapes.MESSAGES for mode in ("eager", "graph")]
            for layout in ("rank_major", "slab", "expert_major"):
                for mode in ("eager", "graph"):
                    for series in ("hand", "ours"):
                        rows.append((f"{series} {layout}", dict(series=series, layout=layout, mode=mode)))
            for name, wanted in rows:
                found = select(records, model=model, tokens=tokens, op=op, **wanted)
                if not found:
                    continue
                # Variants that leave something out are shown apart.
                parts = {}
                for r in found:
                    ours = r.get("variant") or "" if r["series"] == "ours" else ""
                    parts.setdefault((leaves_out(r), bool(r.get("defer_release")), ours), []).append(r)
                for _, part in sorted(parts.items(), key=lambda item: item[0]):
                    yield f"  {name:20} {line(fastest(part), top)}"


def peers_table(records):
    """Each exchange of ours, with the number of blocks that the compiler chooses
    where there is such a record, and the fastest of other projects."""
    groups = {}
    for r in select(records, series="ours"):
        if r.get("layout") and not does_more(r) and any(r["layout"] in peer.against for peer in PEERS.values()):
            key = tuple(r.get(k) for k in ("model", "layout", "tokens", "op", "mode", "defer_release", "variant"))
            groups.setdefault(key, []).append(r)
    rows = []
    for (model, layout, tokens, op, mode, deferred, way), found in groups.items():
        ours = fastest([r for r in found if not r["blocks"]] or found)
        same = dict(model=model, tokens=tokens, op=op, mode=mode)
        theirs = [r for kind, peer in PEERS.items() if layout in peer.against
                  for r in select(records, series=kind, **same)]
        if theirs:
            rows.append((f"{model}, {tokens} tokens, {layout}, {op.replace('_', ' ')}, {mode}"
                         f"{f', {way}' if way else ''}{', release deferred' if deferred else ''}{blocks_of(ours)}",
                         ours, fastest(theirs)))
    if rows:
        behind = sum(best["median_us"] < ours["median_us"] for _, ours, best in rows)
        yield f"ours against the best of other projects: {len(rows)} rows, {behind} behind"
    for name, ours, best in rows:
        variant = f", {best['variant']}" if "variant" in best else ""
        yield (f"  {best['median_us'] / ours['median_us']:5.3f}x  {name}: {ours['median_us']:.1f} µs, "
               f"{best['series']} {best['version']}{variant} {best['median_us']:.1f} µs")


def targets_table(records, top):
    yield "targets (deepseek_v3)"

    def best(op, tokens, partial=False, **wanted):
        found = select(records, model="deepseek_v3", op=op, tokens=tokens, **wanted)
        return fastest([r for r in found if leaves_out(r) == partial and not does_more(r) and ends_as_hand_written(r)])

    def ratio(a, b):
        return f"{a['median_us'] / b['median_us']:6.2f}x" if a and b else "      -"

    for series in ("ours", "hand"):
        wide = dict(series=series, layout="rank_major")
        for op in ("dispatch", "combine"):
            yield f"  {series} {op}, 4096 tokens: share of the ceiling       {share(best(op, 4096, **wide), top)}"
            yield f"  {series} {op}, 4096 tokens, 16 blocks                  " \
                  f"{share(best(op, 4096, blocks=16, **wide), top)}"
            yield f"  {series} {op}, 4096 tokens, against torch + NCCL       " \
                  f"{ratio(best(op, 4096, series='nccl'), best(op, 4096, **wide))}"
            if op == "dispatch":
                yield f"  {series} {op}, 4096 tokens, against rows only          " \
                      f"{ratio(best(op, 4096, True, series='nccl'), best(op, 4096, **wide))}"
            for tokens in (128, 16):
                found = best(op, tokens, series=series, layout="slab", mode="graph")
                yield f"  {series} {op}, {tokens} tokens, slab, graph             " \
                      f"{found['median_us'] if found else float('nan'):8.1f} µs"


def exchanges(records):
    """Records of ours and of hand-written kernels by exchange and mode."""
    found = {}
    for r in records:
        if r.get("op") in ("dispatch", "combine") and good(r) and not leaves_out(r) and not does_more(r) and \
                ends_as_hand_written(r):
            key = tuple(r[k] for k in ("model", "layout", "tokens", "op", "mode"))
            ours, hand = found.setdefault(key, ([], []))
            if r["series"] in ("ours", "hand"):
                (ours if r["series"] == "ours" else hand).append(r)
    return {key: both for key, both in found.items() if all(both)}


def against_hand(records):
    """Hand-written times over ours: the fastest of both; with the number of
    blocks that the compiler chooses; with the same number of blocks."""
    compared = {"fastest against fastest": [], "the compiler's choice against fastest": [], "same blocks": []}
    for key, (ours, hand) in exchanges(records).items():
        pairs = {
            "fastest against fastest": [(fastest(ours), hand)],
            "the compiler's choice against fastest": [(r, hand) for r in ours if not r["blocks"]],
            "same blocks": [(r, [h for h in hand if h["blocks"] == r["blocks"]]) for r in ours if r["blocks"]],
        }
        for name, found in pairs.items():
            compared[name] += [(fastest(theirs)["median_us"] / mine["median_us"], (*key, mine["blocks"] or "auto"))
                               for mine, theirs in found if theirs]
    for name, rows in compared.items():
        if rows:
            rows.sort(key=lambda row: row[0])
            slower = sum(ratio < 1 for ratio, _ in rows)
            yield f"ours against hand-written, {name}: {len(rows)} pairs, {slower} slower; the slowest:"
            for ratio, key in rows[:8]:
                yield f"  {ratio:5.3f}x  {', '.join(map(str, key))} blocks"


def messages_table(records):
    """Ours by messages of NCCL: the exact schedule against what one writes with
    torch and NCCL, and against it the same with blocks that are kept, and the padded
    one as a graph."""
    for tokens in sorted({r["tokens"] for r in select(records, series="messages")}):
        for op in ("dispatch", "combine", shapes.PAIR):
            wanted = dict(op=op, tokens=tokens, model="deepseek_v3")
            theirs = fastest([r for r in select(records, series="nccl", **wanted) if not leaves_out(r)])
            exact = fastest(select(records, series="messages", variant="exact", mode="eager", **wanted))
            kept = fastest(select(records, series="messages", variant=shapes.KEPT, mode="eager", **wanted))
            padded = fastest(select(records, series="messages", variant="padded", mode="graph", **wanted))
            name = op.replace("_", " ")
            if theirs and exact:
                yield (f"messages, exact, {name}, {tokens} tokens: {exact['median_us']:.1f} µs, torch + NCCL "
                       f"{theirs['median_us']:.1f} µs, {theirs['median_us'] / exact['median_us']:.2f}x")
            if exact and kept:
                yield (f"messages, {shapes.KEPT}, {name}, {tokens} tokens: {kept['median_us']:.1f} µs, "
                       f"{exact['median_us'] / kept['median_us']:.2f}x as fast as exact")
            if exact and padded:
                yield (f"messages, padded, {name}, {tokens} tokens, graph: {padded['median_us']:.1f} µs, "
                       f"{exact['median_us'] / padded['median_us']:.2f}x as fast as exact")


def package_table(records):
    """The same graph captured from Python and from C."""
    for python in select(records, series="python"):
        same = {k: python[k] for k in ("model", "layout", "tokens", "op", "mode")}
        for c_api in select(records, series="c_api", **same):
            yield (f"{python['model']}, {python['tokens']} tokens, dispatch and combine into given outputs, graph: "
                   f"C API {c_api['median_us']:.2f} µs, Python {python['median_us']:.2f} µs, "
                   f"{python['median_us'] / c_api['median_us']:.3f}x")


def tables(records):
    top = ceiling(records)
    yield from links_table(records)
    yield from alltoall_table(records, top)
    for model in dict.fromkeys(r["model"] for r in records if "model" in r):
        yield from exchange_table(records, model, top)
    yield from targets_table(records, top)
    yield from messages_table(records)
    yield from package_table(records)
    yield from against_hand(records)
    yield from peers_table(records)
    wrong = [r for r in records if r.get("correct") is False]
    failures = [r for r in records if "failed" in r]
    skipped = [r for r in records if "skipped" in r]
    yield f"{len(records) - len(failures) - len(skipped)} measurements, {len(wrong)} with wrong results, {len(failures)} failed or not run"
    if late := sum("late" in r for r in records):
        yield f"{late} measurements have samples that may have waited for a CPU"
    for r in wrong[:10]:
        yield "  wrong: " + ", ".join(f"{k}={r[k]}" for k in
                                      ("series", "op", "model", "layout", "tokens", "variant", "blocks", "note") if k in r)
    for r in skipped:
        yield f"  skipped: {r['kind']}: {r['skipped']}"
    for r in failures[:10]:
        yield "  failed: " + ", ".join(f"{k}={v}" for k, v in r.items() if k != "failed") + \
              ": " + short(r["failed"])
