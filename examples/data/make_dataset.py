#!/usr/bin/env python3
# ===- make_dataset.py - Makes the example's data from novels --*- python -*-===
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===
"""Makes the data of the examples from Jane Austen's novels: the data set of
examples/moe_layer.mlir, and the text that examples/language_model.py learns.

The novels come from Debian's package r-cran-janeaustenr. Token vectors are
learned from the text (PPMI of word co-occurrence, then a truncated SVD, plus a
decaying sum of the words before). Router and experts are trained together as
the MoE layer of a small model that predicts the next word, so the loads of the
experts are those of a trained router and nothing about them is drawn by hand.

    apt-get download r-cran-janeaustenr=1.0.0-1
    pip install numpy==1.26.4
    python3 make_dataset.py r-cran-janeaustenr_1.0.0-1_all.deb --out DIR
"""

import os

# Before numpy is imported: one thread and fixed kernels, so that another
# AVX2 machine computes the same bits.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OPENBLAS_CORETYPE"] = "Haswell"
os.environ["NPY_DISABLE_CPU_FEATURES"] = (
    "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR")

import argparse
import hashlib
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np

RANKS, EXPERTS, TOP_K = 4, 16, 2
HIDDEN, FFN = 128, 192
MAX_TOKENS = 256
VOCABULARY, CLASSES = 4000, 2000
HELD_OUT = 2000  # tokens at the start of each novel that training never sees
STEPS, BATCH, LEARNING_RATE, BALANCE = 600, 512, 2e-3, 0.01
SEED = 20240

DEB_SHA256 = "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95"
RDB = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
# The order of the objects in the package's database.
NOVELS = ("Emma", "Mansfield Park", "Northanger Abbey", "Persuasion",
          "Pride and Prejudice", "Sense and Sensibility")
# What the language models learn: so much of the end of this novel.
LEARNED, CHARACTERS = "Emma", 200_000
# Rank r gets the opening of this novel: the words its text starts with.
OPENINGS = (
    ("Pride and Prejudice", "It is a truth universally acknowledged"),
    ("Emma", "Emma Woodhouse, handsome, clever, and rich"),
    ("Sense and Sensibility", "The family of Dashwood had long been settled"),
    ("Persuasion", "Sir Walter Elliot, of Kellynch Hall"),
)


def readDatabase(data):
    """Reads R's lazy-load database of character vectors: blocks of a 4-byte
    length and a zlib stream that holds one serialized vector."""
    vectors, pos = [], 0
    while pos < len(data):
        stream = zlib.decompressobj()
        text = stream.decompress(data[pos + 4:])
        pos = len(data) - len(stream.unused_data)
        if not text.startswith(b"X\n\0\0\0\3"):
            raise ValueError("not an XDR serialization of version 3")
        at = 14 + 4 + struct.unpack_from(">i", text, 14)[0]
        flags, count = struct.unpack_from(">ii", text, at)
        if flags & 0xff != 16:
            raise ValueError("not a character vector")
        at, lines = at + 8, []
        for _ in range(count):
            flags, size = struct.unpack_from(">ii", text, at)
            if flags & 0xff != 9 or size < 0:
                raise ValueError("not a character string")
            lines.append(text[at + 8:at + 8 + size].decode("utf-8"))
            at += 8 + size
        vectors.append(lines)
    return vectors


def readNovels(deb):
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    if digest != DEB_SHA256:
        sys.exit(f"{deb}: expected sha256 {DEB_SHA256}, saw {digest}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
        vectors = readDatabase(pathlib.Path(folder, RDB).read_bytes())
    if len(vectors) != len(NOVELS):
        sys.exit(f"{deb}: expected {len(NOVELS)} novels, saw {len(vectors)}")
    novels = {}
    for name, lines in zip(NOVELS, vectors):
        if lines[0].lower() != name.lower():
            sys.exit(f"{deb}: expected '{name}', saw '{lines[0]}'")
        lines = [l for l in lines[1:]
                 if not re.match(r"(CHAPTER|Chapter|VOLUME|Volume)\b", l)]
        novels[name] = "\n".join(lines).replace("_", "")
    return novels


def tokenize(text):
    """Words in lower case, and punctuation marks as words of their own."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?|--|[.,;:!?\"()]", text.lower())


def openingOf(novels, name, start):
    """The paragraphs from `start` on, as many as fit in MAX_TOKENS."""
    text = novels[name]
    at = text.index(start)
    if len(tokenize(text[:at])) + MAX_TOKENS > HELD_OUT:
        raise ValueError(f"the passage of {name} is not held out")
    text, tokens = text[at:], []
    for paragraph in re.split(r"\n\s*\n", text):
        more = tokenize(paragraph)
        if len(tokens) + len(more) > MAX_TOKENS:
            return tokens
        tokens += more
    raise ValueError(f"{name} is too short")


def textToLearn(novels):
    """Whole paragraphs of ASCII."""
    text = novels[LEARNED].encode("ascii", "ignore").decode()
    text = re.sub(r"\n\s*\n\s*", "\n\n", text[-CHARACTERS:])
    return text[text.index("\n\n") + 2:].strip() + "\n"


def learnWordVectors(streams, window=4, smoothing=0.75):
    """PPMI matrix of the vocabulary against its frequent words, reduced to
    HIDDEN dimensions by a truncated SVD."""
    counts = np.zeros(VOCABULARY * CLASSES, np.float64)
    for ids in streams:
        for distance in range(1, window + 1):
            for word, context in ((ids[:-distance], ids[distance:]),
                                  (ids[distance:], ids[:-distance])):
                seen = context < CLASSES
                cells = word[seen] * CLASSES + context[seen]
                counts += np.bincount(cells, minlength=len(counts)) / distance
    counts = counts.reshape(VOCABULARY, CLASSES)
    perWord = counts.sum(1, keepdims=True)
    perContext = counts.sum(0, keepdims=True)**smoothing
    expected = perWord * (perContext / perContext.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        ppmi = np.maximum(np.log(counts / expected), 0)
    ppmi[~np.isfinite(ppmi)] = 0
    # Right singular vectors are the eigenvectors of the Gram matrix.
    values, vectors = np.linalg.eigh(ppmi.T @ ppmi)
    top = np.argsort(values)[::-1][:HIDDEN]
    basis = vectors[:, top]
    basis *= np.sign(basis[np.abs(basis).argmax(0), np.arange(HIDDEN)])
    return (ppmi @ basis) / np.sqrt(np.sqrt(values[top]))


def tokenVectors(words, ids, decay=0.7, mix=0.5):
    """Vector of each token: its word plus a decaying sum of the words before,
    scaled to a root mean square of 1 as the input of a MoE layer is."""
    vectors = words[ids]
    context = np.zeros(HIDDEN)
    out = np.empty_like(vectors)
    for t, vector in enumerate(vectors):
        out[t] = vector + mix * context
        context = decay * context + (1 - decay) * vector
    out /= np.sqrt((out**2).mean(1, keepdims=True) + 1e-6)
    return out.astype(np.float32)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def route(x, router):
    """Softmax over the experts, the TOP_K largest, their weights scaled to a
    sum of 1."""
    logits = x @ router
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    idx = np.argsort(-probs, axis=1, kind="stable")[:, :TOP_K]
    top = np.take_along_axis(probs, idx, 1)
    return logits, probs, idx, top / top.sum(1, keepdims=True)


def gradients(p, x, target):
    """Loss and gradients of: z = x + sum of the chosen experts' outputs,
    next word = softmax(z @ out + bias), plus the usual balance term."""
    n = len(x)
    _, probs, idx, weight = route(x, p["router"])
    g = {k: np.zeros_like(v) for k, v in p.items()}
    z, cache = x.copy(), []
    for e in range(EXPERTS):
        rows, slot = np.nonzero(idx == e)
        pre = x[rows] @ p["w1"][e]
        act = pre * sigmoid(pre)
        y = act @ p["w2"][e]
        z[rows] += weight[rows, slot][:, None] * y  # a row occurs once per e
        cache.append((rows, slot, pre, act, y))
    logits = z @ p["out"] + p["bias"]
    logits -= logits.max(1, keepdims=True)
    soft = np.exp(logits)
    soft /= soft.sum(1, keepdims=True)
    loss = -np.log(soft[np.arange(n), target] + 1e-20).mean()
    soft[np.arange(n), target] -= 1
    soft /= n
    g["out"], g["bias"] = z.T @ soft, soft.sum(0)
    dz = soft @ p["out"].T
    dweight = np.zeros_like(weight)
    for e, (rows, slot, pre, act, y) in enumerate(cache):
        dweight[rows, slot] = (dz[rows] * y).sum(1)
        dy = dz[rows] * weight[rows, slot][:, None]
        g["w2"][e] = act.T @ dy
        s = sigmoid(pre)
        dpre = (dy @ p["w2"][e].T) * (s + pre * s * (1 - s))
        g["w1"][e] = x[rows].T @ dpre
    # The scaled weights are a softmax over the chosen logits alone.
    dlogits = np.zeros_like(probs)
    np.put_along_axis(
        dlogits, idx,
        weight * (dweight - (weight * dweight).sum(1, keepdims=True)), 1)
    share = np.bincount(idx.ravel(), minlength=EXPERTS) / (n * TOP_K)
    dprobs = BALANCE * EXPERTS * share / n
    dlogits += probs * (dprobs - (probs * dprobs).sum(1, keepdims=True))
    g["router"] = x.T @ dlogits
    return loss, g


def train(x, target, rng):
    def normal(*shape):
        return (rng.standard_normal(shape) / np.sqrt(shape[-2])).astype("f4")

    p = {"router": normal(HIDDEN, EXPERTS),
         "w1": normal(EXPERTS, HIDDEN, FFN),
         "w2": normal(EXPERTS, FFN, HIDDEN),
         "out": normal(HIDDEN, CLASSES) * np.float32(0.1),
         "bias": np.zeros(CLASSES, "f4")}
    first = {k: np.zeros_like(v) for k, v in p.items()}
    second = {k: np.zeros_like(v) for k, v in p.items()}
    for step in range(1, STEPS + 1):
        pick = rng.integers(0, len(x), BATCH)
        loss, g = gradients(p, x[pick], target[pick])
        rate = LEARNING_RATE * min(1, step / 50) * (1 - step / (STEPS + 1))
        for k, v in p.items():  # Adam
            first[k] += np.float32(0.1) * (g[k] - first[k])
            second[k] += np.float32(0.01) * (g[k]**2 - second[k])
            v -= np.float32(rate) * (first[k] / np.float32(1 - 0.9**step)) / (
                np.sqrt(second[k] / np.float32(1 - 0.99**step))
                + np.float32(1e-8))
        if step == 1 or step % 100 == 0:
            print(f"step {step:4d}  loss {loss:.3f}", flush=True)
    return p


def report(xs, router):
    """Prints the routing that the data gives, in float64."""
    total, margin = np.zeros(EXPERTS, int), np.inf
    print("rank  tokens  rows sent to rank 0..3      max/mean load of experts")
    for rank, x in enumerate(xs):
        logits, _, idx, _ = route(x.astype("f8"), router.astype("f8"))
        ordered = -np.sort(-logits, 1)
        margin = min(margin, (ordered[:, TOP_K - 1] - ordered[:, TOP_K]).min())
        load = np.bincount(idx.ravel(), minlength=EXPERTS)
        total += load
        to = load.reshape(RANKS, -1).sum(1)
        print(f"{rank:4d}  {len(x):6d}  {' '.join(f'{v:5d}' for v in to)}"
              f"      {load.max() / load.mean():.2f}")
    print("rows per expert:", *total)
    perRank = total.reshape(RANKS, -1).sum(1)
    print("rows per rank:", *perRank,
          f"max/mean {perRank.max() / perRank.mean():.2f}")
    print(f"max/mean load {total.max() / total.mean():.2f}, "
          f"min/mean {total.min() / total.mean():.2f}, "
          f"coefficient of variation {total.std() / total.mean():.2f}")
    print(f"smallest gap between the last chosen logit and the next "
          f"{margin:.2e}")
    if margin < 2e-5:
        sys.exit("a choice of experts depends on rounding")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("deb", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()

    novels = readNovels(args.deb)
    tokens = {name: tokenize(novels[name]) for name in NOVELS}
    frequency = {}
    for stream in tokens.values():
        for word in stream:
            frequency[word] = frequency.get(word, 0) + 1
    # Id 0 stands for every word outside of the vocabulary.
    frequent = sorted(frequency, key=lambda w: (-frequency[w], w))
    index = {w: i + 1 for i, w in enumerate(frequent[:VOCABULARY - 1])}

    def idsOf(words):
        return np.array([index.get(w, 0) for w in words])

    print(f"{sum(map(len, tokens.values()))} tokens, "
          f"{len(frequency)} different words", flush=True)
    streams = [idsOf(tokens[name]) for name in NOVELS]
    words = learnWordVectors(streams)
    x, target = [], []
    for ids in streams:
        x.append(tokenVectors(words, ids)[HELD_OUT:-1])
        following = ids[HELD_OUT + 1:]
        target.append(np.where(following < CLASSES, following, 0))
    model = train(np.concatenate(x), np.concatenate(target),
                  np.random.default_rng(SEED))

    args.out.mkdir(parents=True, exist_ok=True)
    files, xs, text = {"router.npy": model["router"]}, [], []
    local = EXPERTS // RANKS
    for rank, (name, start) in enumerate(OPENINGS):
        passage = openingOf(novels, name, start)
        xs.append(tokenVectors(words, idsOf(passage)))
        text.append(f"# rank {rank}: {name}, {len(passage)} tokens\n"
                    + " ".join(passage) + "\n")
        files[f"x.{rank}.npy"] = xs[-1]
        for w in ("w1", "w2"):
            files[f"{w}.{rank}.npy"] = model[w][rank * local:(rank + 1) * local]
    for name, array in files.items():
        np.save(args.out / name, np.ascontiguousarray(array, np.float32))
    (args.out / "tokens.txt").write_text("\n".join(text))
    (args.out / "novel.txt").write_text(textToLearn(novels), "ascii")
    report(xs, model["router"])
    for name in sorted([*files, "tokens.txt", "novel.txt"]):
        data = (args.out / name).read_bytes()
        print(f"{hashlib.sha256(data).hexdigest()}  {name}")


if __name__ == "__main__":
    main()
