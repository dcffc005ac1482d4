# ===- modules.py - modules that are measured -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Writes the modules to measure and compiles them."""

import concurrent.futures
import dataclasses
import subprocess
import sys

from . import shapes

COMPILE_SECONDS = 120


def tensor(*dims, attribute=""):
    *shape, element = dims
    text = f"tensor<{'x'.join(map(str, [*shape, element]))}>"
    return f"{text} {{{attribute}}}" if attribute else text


SYMMETRIC = "moe.symmetric"
HOST = "moe.host"
# The entries that combine, by whether their release is deferred.
COMBINES = {False: "combine", True: "combine_deferred"}


def result_dims(model, ranks, tokens, layout, variant=None, keeps_blocks=False):
    """Shapes and elements of what a dispatch returns. The first four, what is received,
    are symmetric; with `keeps_blocks` the last is in memory of the host."""
    expert_major = layout == "expert_major"
    local = -(-model.experts // ranks)
    rows = ranks * tokens * (min(model.top_k, local) if expert_major else 1)
    slots = () if expert_major else (model.top_k,)
    results = [
        (rows, model.hidden, "bf16"), (rows, *slots, "i32"), (rows, *slots, "f32"), (rows, "i32"),
        (ranks, "i32"), (ranks, "i32"), (tokens, model.top_k if expert_major else ranks, "i32"),
    ]
    listed = variant == shapes.LISTED
    if expert_major or listed:
        results += [(local, "i32"), (local, "i32")]
    if listed:
        places = shapes.list_places(rows, model.top_k, local)
        results += [(places, "i32"), (places, "f32")]
    if keeps_blocks:
        results += [(2, ranks, local if expert_major else 1, 2, "i32"), (4, ranks, "i32")]
    return results


def exchange_module(model, ranks, tokens, layout, variant=None, keeps_blocks=False):
    """dispatch(x, idx, weights) and combine(y, ...) as two entries, and the same
    combine for a caller who leaves its rows alone until the next exchange, as
    decoding loops do. What is received and the rows to combine stay where the
    ranks exchange them. With `keeps_blocks` the combines take what the dispatch
    knows of the rows of other ranks."""
    x = tensor(tokens, model.hidden, "bf16")
    idx = tensor(tokens, model.top_k, "i32")
    weights = tensor(tokens, model.top_k, "f32")
    results = result_dims(model, ranks, tokens, layout, variant, keeps_blocks)
    types = [tensor(*r) for r in results]
    received = [tensor(*result, attribute=SYMMETRIC) for result in results[:4]]
    returned = received + types[4:]
    if keeps_blocks:
        returned[-1] = tensor(*results[-1], attribute=HOST)
    recv_x, _, recv_weights, source, _, from_ranks, send_row = types[:7]
    attributes = f"layout = #moe.layout<{layout}>, num_experts = {model.experts} : i64"
    dispatch_attributes, combine_attributes = (
        f"{attributes}, {more}" if more else attributes for more in shapes.VARIANTS[layout][variant])
    dispatch_attributes = "keep_blocks, " * keeps_blocks + dispatch_attributes
    combine_args = [("%y", received[0]), ("%row", send_row), ("%src", source), ("%from", from_ranks)]
    combine_types = [recv_x, send_row, source, from_ranks]
    topk = ""
    if layout == "expert_major":
        combine_args += [("%idx", idx), ("%w", received[2])]
        combine_types += [idx, recv_weights]
        topk = " topk(%idx) weights(%w)"
    if keeps_blocks:
        combine_args += [("%blocks", types[-2]), ("%rows", returned[-1])]
        combine_types += types[-2:]
        topk += " blocks(%blocks, %rows)"
    arguments = ", ".join(f"{name}: {kind}" for name, kind in combine_args)
    combines = "\n".join(f"""func.func @{COMBINES[deferred]}({arguments}) -> {x} {{
  %out = moe.combine %y, %row, %src, %from{topk} on @ep {{{"defer_release, " * deferred}{combine_attributes}}}
    : ({', '.join(combine_types)}) -> {x}
  return %out : {x}
}}
""" for deferred in (False, True))
    names = ", ".join(f"%r{i}" for i in range(len(results)))
    return f"""shard.grid @ep(shape = {ranks})

func.func @dispatch(%x: {x}, %idx: {idx}, %w: {weights})
    -> ({', '.join(returned)}) {{
  {names} = moe.dispatch %x, %idx, %w on @ep {{{dispatch_attributes}}}
    : ({x}, {idx}, {weights})
   -> ({', '.join(types)})
  return {names} : {', '.join(types)}
}}

{combines}"""


def alltoallv_module(ranks, bytes_per_peer):
    rows = ranks * bytes_per_peer // shapes.EXCHANGE_ROW
    data = tensor(rows, shapes.EXCHANGE_ROW // 2, "bf16")
    counts = tensor(ranks, "i32")
    received = tensor(rows, shapes.EXCHANGE_ROW // 2, "bf16", attribute=SYMMETRIC)
    return f"""shard.grid @ep(shape = {ranks})

func.func @alltoallv(%send: {data}, %counts: {counts}) -> ({received}, {counts}) {{
  %recv, %n = moe.alltoallv %send, %counts on @ep
    : ({data}, {counts}) -> ({data}, {counts})
  return %recv, %n : {data}, {counts}
}}
"""


def exchange_name(model, tokens, layout, blocks, variant=None):
    return f"{model}-{layout}-t{tokens}-b{blocks or 'auto'}{f'-{variant}' if variant else ''}.so"


def alltoallv_name(bytes_per_peer, blocks):
    return f"alltoallv-{bytes_per_peer}-b{blocks or 'auto'}.so"


def messages_name(model, tokens, variant):
    return f"{model}-rank_major-t{tokens}-{variant.replace(', ', '-').replace(' ', '_')}-messages.so"


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A file to make: what is compiled, and with which options of the compiler."""

    name: str
    text: str
    options: tuple[str, ...] = ()


def blocks_option(blocks):
    return (f"--blocks={blocks}",) if blocks else ()


def wanted(ranks, models, token_counts, blocks):
    """The artifacts of a run."""
    for model in models:
        for layout in shapes.LAYOUTS:
            for tokens in token_counts:
                for variant in shapes.VARIANTS[layout]:
                    text = exchange_module(model, ranks, tokens, layout, variant)
                    for count in blocks:
                        yield Artifact(exchange_name(model.name, tokens, layout, count, variant), text,
                                       blocks_option(count))
                if layout == "rank_major":
                    for variant, (schedule, keeps_blocks) in shapes.MESSAGES.items():
                        text = exchange_module(model, ranks, tokens, layout, keeps_blocks=keeps_blocks)
                        yield Artifact(messages_name(model.name, tokens, variant), text,
                                       ("--transport=messages", f"--schedule={schedule}"))
    for size in shapes.EXCHANGE_BYTES:
        text = alltoallv_module(ranks, size)
        for count in blocks:
            yield Artifact(alltoallv_name(size, count), text, blocks_option(count))


def compile_one(compiler, target, options, folder, artifact):
    """None, or what went wrong."""
    source = folder / artifact.name.replace(".so", ".mlir")
    source.write_text(artifact.text)
    command = [compiler, source, f"--target={target}", "-o", folder / artifact.name, *options, *artifact.options]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    source.unlink()
    return None if done.returncode == 0 else done.stdout.strip()


def prepare(compiler, target, options, folder, artifacts, jobs):
    """Compiles what `wanted` yields, with further options of the compiler;
    returns how many, and the failures by name."""
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = list(artifacts)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        problems = list(pool.map(lambda artifact: compile_one(compiler, target, options, folder, artifact), artifacts))
    failed = {artifact.name: why for artifact, why in zip(artifacts, problems) if why}
    return len(artifacts), failed


def run_prepare(args, artifacts):
    """The command `prepare` with the options of `options.add_prepare`; returns its exit status."""
    count, failed = prepare(args.moe_compile, args.target, args.option, args.out, artifacts, args.jobs)
    for name, why in failed.items():
        print(f"{name}: {why}", file=sys.stderr)
    print(f"{count - len(failed)} of {count} artifacts in {args.out}")
    return 1 if failed else 0
