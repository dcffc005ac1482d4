#===- test_gradients.py - a backward pass against differences -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""examples/moe_backward.mlir on four ranks: its gradients are the derivatives of
the forward pass of the same module.

The forward pass is linear in its weights and in the rows, so differences of its
results are derivatives; all numbers are small integers, so they are exact."""

import numpy as np

from harness import RUN_SECONDS, read_npy, run_bounded
from test_differential import REPOSITORY, bin_dir

RANKS, EXPERTS, K, H, ROWS = 4, 16, 2, 32, 640
TOKENS = (64, 0, 17, 40)
F32, I32 = np.dtype(np.float32), np.dtype(np.int32)


class Entries:
    """Calls the entries of the example; a value is a list of one array per rank."""

    def __init__(self, folder):
        self.folder, self.calls = folder, 0
        source = REPOSITORY / "examples" / "moe_backward.mlir"
        command = [str(bin_dir() / "moe-compile"), str(source), "-o", "m.so"]
        code, _, err = run_bounded(command, folder, 60)
        assert code == 0, err

    def __call__(self, name, inputs, dtypes):
        self.calls += 1
        command = [str(bin_dir() / "moe-run"), "-n", str(RANKS), "m.so"]
        command += ["--entry", name]
        for i, arrays in enumerate(inputs):
            for rank, array in enumerate(arrays):
                np.save(self.folder / f"in{self.calls}_{i}.{rank}.npy", array)
            command += ["--in", f"in{self.calls}_{i}.{{rank}}.npy"]
        for i in range(len(dtypes)):
            command += ["--out", f"out{self.calls}_{i}.{{rank}}.npy"]
        code, _, err = run_bounded(command, self.folder, RUN_SECONDS)
        assert code == 0, err
        return [
            [
                read_npy(self.folder / f"out{self.calls}_{i}.{rank}.npy", dtype)
                for rank in range(RANKS)
            ]
            for i, dtype in enumerate(dtypes)
        ]


def product(a, b):
    """The inner product of two values, over all ranks."""
    return sum(float((x * y).sum(dtype=np.float64)) for x, y in zip(a, b))


def test_gradients_are_derivatives(request, tmp_path):
    seed = request.config.option.moe_seed
    rng = np.random.default_rng([seed, 3])
    call = Entries(tmp_path)

    def numbers(*shape):
        return rng.integers(-3, 4, shape).astype(F32)

    x = [numbers(t, H) for t in TOKENS]
    idx = [
        np.array([rng.permutation(EXPERTS)[:K] for _ in range(t)], I32).reshape(t, K)
        for t in TOKENS
    ]
    for array in idx:
        array[rng.random(array.shape) < 0.2] = -1
    weights = [numbers(t, K) for t in TOKENS]
    recv_x, recv_w, src, n_from, send_row = call(
        "dispatch", [x, idx, weights], [F32, F32, I32, I32, I32]
    )
    is_row = [a != -1 for a in src]
    assert any(m.any() for m in is_row) and any((~m).any() for m in is_row)
    for rows, mask in zip(recv_x, is_row):
        assert not rows[~mask].any(), f"seed {seed}: padding is not zero"

    y = [numbers(ROWS, H) for _ in range(RANKS)]
    grad_out = [numbers(t, H) for t in TOKENS]

    def forward(y, recv_w):
        (out,) = call("combine", [y, recv_w, idx, send_row, src, n_from], [F32])
        return out

    grad_w, grad_y = call(
        "backward", [y, recv_w, idx, send_row, src, n_from, grad_out], [F32, F32]
    )
    for rows, mask in zip(grad_y, is_row):
        assert not rows[~mask].any(), f"seed {seed}: padding is not zero"
    for rank, rows in enumerate(send_row):
        assert not grad_w[rank][rows == -1].any(), f"seed {seed}"

    def change_along(gradient):
        """A change drawn by lot, but not at a right angle to the gradient: there
        nothing would be compared."""
        assert any(array.any() for array in gradient), f"seed {seed}"
        while True:
            change = [numbers(*array.shape) for array in gradient]
            if product(gradient, change) != 0:
                return change

    # In the direction of any change of the weights, which a dispatch brings to
    # their rows as it did the weights themselves.
    before = forward(y, recv_w)
    change = change_along(grad_w)
    recv_change = call("dispatch", [x, idx, change], [F32, F32, I32, I32, I32])[1]
    after = forward(y, [w + c for w, c in zip(recv_w, recv_change)])
    difference = [b - a for a, b in zip(before, after)]
    assert product(grad_out, difference) == product(grad_w, change), f"seed {seed}"

    change = change_along(grad_y)
    after = forward([a + c for a, c in zip(y, change)], recv_w)
    difference = [b - a for a, b in zip(before, after)]
    assert product(grad_out, difference) == product(grad_y, change), f"seed {seed}"
