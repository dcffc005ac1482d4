#!/usr/bin/env python3
# ===- run_demo.py - Runs and checks the example MoE layer --*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===
"""Runs examples/moe_layer.mlir on four ranks with moe-run, checks the result
against a dense float64 computation in this process, and prints what moved
where and how long it took. Exits with 1 when the check fails."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import numpy as np

EXAMPLES = pathlib.Path(__file__).resolve().parent
RANKS, EXPERTS, TOP_K = 4, 16, 2
LOCAL = EXPERTS // RANKS
# What travels with a row of dispatch: expert id, weight, source index.
METADATA_BYTES = 4 + 4 + 4
TOLERANCE = 1e-5
RESULTS = ("out", "expert_counts", "n_to", "n_from")


class DemoError(Exception):
    pass


def stop(process):
    """Ends moe-run and its ranks; gives them a moment to clean up."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def runLayer(moeRun, module, data, outDir, timeout):
    """Runs the layer; returns each rank's results and the phases' times."""
    command = [str(moeRun), "-n", str(RANKS), str(module), "--entry", "layer"]
    for name in ("x.{rank}", "router", "w1.{rank}", "w2.{rank}"):
        command += ["--in", str(data / f"{name}.npy")]
    for name in RESULTS:
        command += ["--out", str(outDir / (name + ".{rank}.npy"))]
    command.append("--json")
    # A session of its own, so that a time-out ends the ranks too.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        stdout, _ = process.communicate(timeout=timeout)
    except BaseException as error:
        stop(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise DemoError(f"moe-run did not end within {timeout} s") from None
        raise
    if process.returncode != 0:
        raise DemoError(f"moe-run ended with status {process.returncode}")
    try:
        ranks = json.loads(stdout)["per_rank"]
        phases = {entry["rank"]: entry["timings"] for entry in ranks}
        for rank in range(RANKS):
            if not phases[rank]:
                raise DemoError(f"moe-run reports no phase of rank {rank}")
            for phase in phases[rank]:
                phase["op"], phase["location"], phase["phase"]
                phase["ns"] / phase["calls"]
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise DemoError("moe-run --json printed something unexpected "
                        f"({error!r}): {stdout[:200]!r}") from None
    results = [{name: np.load(outDir / f"{name}.{rank}.npy")
                for name in RESULTS} for rank in range(RANKS)]
    return results, phases


def denseLayer(x, router, w1, w2):
    """The layer as one dense float64 computation: every expert sees every
    token, and the tokens that did not choose it get weight 0. Returns the
    output and the T x EXPERTS matrix of weights."""
    x, router, w1, w2 = (a.astype(np.float64) for a in (x, router, w1, w2))
    logits = x @ router
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    chosen = np.argsort(-probs, axis=1, kind="stable")[:, :TOP_K]
    weights = np.zeros_like(probs)
    np.put_along_axis(weights, chosen,
                      np.take_along_axis(probs, chosen, 1), 1)
    weights /= weights.sum(1, keepdims=True)
    out = np.zeros_like(x)
    for e in range(EXPERTS):
        h = x @ w1[e]
        out += weights[:, e:e + 1] * ((h / (1 + np.exp(-h))) @ w2[e])
    return out, weights


def check(results, data):
    """Compares all results with the dense computation. Returns the largest
    error relative to the largest element of its row, and rows[s, e]: how many
    rows rank s sends to expert e."""
    def load(name):
        return np.load(data / f"{name}.npy")

    router = load("router")
    w1, w2 = (np.concatenate([load(f"{w}.{r}") for r in range(RANKS)])
              for w in ("w1", "w2"))
    worst, rows = 0.0, np.zeros((RANKS, EXPERTS), int)
    for rank, result in enumerate(results):
        expected, weights = denseLayer(load(f"x.{rank}"), router, w1, w2)
        rows[rank] = (weights > 0).sum(0)
        out = result["out"]
        if out.shape != expected.shape or out.dtype != np.float32:
            raise DemoError(f"rank {rank}: expected a result of float32 "
                            f"{expected.shape}, saw {out.dtype} {out.shape}")
        error = np.abs(out - expected) / np.abs(expected).max(1, keepdims=True)
        worst = float(np.maximum(worst, error.max()))  # a NaN stays NaN
    perRank = rows.reshape(RANKS, RANKS, LOCAL).sum(2)
    for rank, result in enumerate(results):
        for name, expected in (
                ("n_to", perRank[rank]), ("n_from", perRank[:, rank]),
                ("expert_counts",
                 rows.sum(0)[rank * LOCAL:(rank + 1) * LOCAL])):
            if not np.array_equal(result[name], expected):
                raise DemoError(f"rank {rank}: expected {name} "
                                f"{expected.tolist()}, saw "
                                f"{result[name].tolist()}")
    if not worst <= TOLERANCE:
        raise DemoError(f"expected a relative error of at most {TOLERANCE}, "
                        f"saw {worst}")
    return worst


def printTable(title, header, rows):
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells)]
    print(f"\n{title}")
    for i, row in enumerate(cells):
        print("  " + row[0].ljust(widths[0]) + "".join(
            "  " + c.rjust(w) for c, w in zip(row[1:], widths[1:])))
        if i == 0:
            print("  " + "-" * (sum(widths) + 2 * (len(widths) - 1)))


def printTraffic(results):
    toRank = np.array([r["n_to"] for r in results])
    tokens = [len(r["out"]) for r in results]
    ranks = [f"rank {r}" for r in range(RANKS)]
    printTable(
        "Rows sent, one per (token, expert)",
        ["from \\ to", *ranks, "tokens"],
        [[ranks[r], *toRank[r], tokens[r]] for r in range(RANKS)]
        + [["received", *toRank.sum(0), sum(tokens)]])

    counts = np.array([r["expert_counts"] for r in results])
    printTable(
        "Rows per expert   (largest load "
        f"{counts.max() / counts.mean():.2f} x mean, "
        f"smallest {counts.min() / counts.mean():.2f} x)",
        ["owner", *["expert: rows"] * LOCAL],
        [[ranks[r], *(f"{r * LOCAL + j:2d}: {counts[r, j]:4d}"
                      for j in range(LOCAL))] for r in range(RANKS)])

    # Dispatch stores rows and their metadata on the owner of the expert;
    # combine brings the same rows back without metadata.
    rowBytes = results[0]["out"].dtype.itemsize * results[0]["out"].shape[1]
    lines = []
    for rank in range(RANKS):
        local = toRank[rank, rank]
        remote = toRank[rank].sum() - local
        lines.append([local * (rowBytes + METADATA_BYTES),
                      remote * (rowBytes + METADATA_BYTES),
                      local * rowBytes, remote * rowBytes])
    lines.append(np.sum(lines, 0).tolist())
    printTable(
        f"Bytes moved   (dispatch: {rowBytes} + {METADATA_BYTES} a row, "
        f"combine: {rowBytes})",
        ["tokens of", "dispatch local", "to peers", "combine local",
         "from peers"],
        [[name, *(f"{v:,}" for v in line)]
         for name, line in zip([*ranks, "all"], lines)])


def printPhases(phases):
    # In the order in which rank 0 met them; another rank may lack one.
    keys = []
    for rank in range(RANKS):
        for phase in phases[rank]:
            key = (phase["op"], phase["location"], phase["phase"])
            if key not in keys:
                keys.append(key)
    lines, sums = [], [0.0] * RANKS
    for key in keys:
        line = []
        for rank in range(RANKS):
            times = [p["ns"] / p["calls"] / 1000 for p in phases[rank]
                     if (p["op"], p["location"], p["phase"]) == key]
            sums[rank] += sum(times)
            line.append(f"{sum(times):,.1f}" if times else "-")
        lines.append([f"{key[0]} {key[2]}", *line])
    lines.append(["sum", *(f"{s:,.1f}" for s in sums)])
    printTable("Time per phase, microseconds (waiting for peers included)",
               ["phase", *(f"rank {r}" for r in range(RANKS))], lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moe-run", type=pathlib.Path,
                        default=EXAMPLES.parent / "build" / "bin" / "moe-run")
    parser.add_argument("--module", type=pathlib.Path,
                        default=EXAMPLES / "moe_layer.mlir",
                        help="the layer as .mlir or as compiled .so")
    parser.add_argument("--data", type=pathlib.Path, default=EXAMPLES / "data")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="moe-demo-") as folder:
            results, phases = runLayer(args.moe_run, args.module, args.data,
                                       pathlib.Path(folder), args.timeout)
        worst = check(results, args.data)
    except (DemoError, OSError, ValueError) as error:
        print(f"run_demo.py: error: {error}", file=sys.stderr)
        return 1
    print(f"{args.module.name}: {RANKS} ranks, {EXPERTS} experts, "
          f"top {TOP_K}, openings of four novels")
    printTraffic(results)
    printPhases(phases)
    print(f"\nCheck against the dense float64 layer: max relative error "
          f"{worst:.2e} (limit {TOLERANCE:.0e}), all counts equal: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
