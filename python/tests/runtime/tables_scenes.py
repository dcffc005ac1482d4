"""Tensors that an artifact for GPUs has in host memory, as cuda_scenes.py runs others.

``python tables_scenes.py SCENE``: MOE_TEST_ARTIFACT_DIR has runtime/tests/artifacts/tables.c,
whose "gather" copies elements of a vector by a table of rows, and returns them on the GPU
and on the host.
"""

import os
import pathlib
import sys

import numpy as np
from moe_mlir._runtime import PackedEntry

from moe_mlir.runtime import MoEError, Tensor, run_local

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test" / "GPU"))
import cuda

TABLES = pathlib.Path(os.environ["MOE_TEST_ARTIFACT_DIR"], "cuda", "tables.so")
GPUS = cuda.Driver().num_devices()
VALUES = np.arange(16, dtype=np.float32) * 10


def on_device(group, values: np.ndarray) -> Tensor:
    """A tensor of the group's GPU: symmetric memory with these values."""
    names = {"float32": "f32", "int32": "i32"}
    tensor = group.empty(values.shape, names[values.dtype.name], like="tensor")
    tensor.copy_from(values)
    return tensor


def table(group) -> np.ndarray:
    return np.array([3 + group.rank, 0, 15], np.int32)


def refused(call, *arguments, **options) -> MoEError:
    try:
        call(*arguments, **options)
    except MoEError as error:
        return error
    raise AssertionError("nothing was raised")


def described():
    """Which tensors are the host's."""

    def main(group):
        entry = group.load(TABLES)["gather"]
        assert [a.host for a in entry.arguments] == [False, True]
        assert [r.host for r in entry.results] == [False, True]
        assert str(entry.arguments[1]) == "i32[?] host"
        assert repr(entry) == "gather(f32[?], i32[?] host) -> (f32[?], f32[?] host)"

    run_local(2, main, backend="cuda")


def host_arrays():
    """Results of the host are arrays of numpy, complete and writable."""

    def main(group):
        entry = group.load(TABLES)["gather"]
        rows = table(group)
        for given in (rows, np.repeat(rows, 2)[::2]):
            out, found = entry(VALUES, given)
            assert isinstance(out, Tensor)
            assert out.__dlpack_device__() == (2, group.rank % GPUS)
            assert type(found) is np.ndarray, type(found)
            np.testing.assert_array_equal(out.numpy(), VALUES[rows])
            np.testing.assert_array_equal(found, VALUES[rows])
        found[0] = 1
        given = np.zeros(3, np.float32)
        entry.into([on_device(group, given), given], VALUES, rows)
        np.testing.assert_array_equal(given, VALUES[rows])

    run_local(2, main, backend="cuda")


def launches():
    """An argument of the host does not make a call wait, and may be overwritten after it."""

    def main(group):
        loaded = group.load(TABLES)
        driver = cuda.Driver()
        driver.use(group.rank % GPUS)
        stream = driver.stream().value
        x, rows = on_device(group, VALUES), table(group)
        expected = VALUES[rows]
        out, found = loaded["gather"](x, rows, stream=stream)
        # Of the runtime's tensors all results are.
        assert isinstance(found, Tensor)
        assert found.__dlpack_device__() == (1, 0)
        assert repr(found) == "Tensor(f32[3])"
        np.testing.assert_array_equal(np.asarray(memoryview(found)), expected)
        again = loaded["pick"](x, rows, stream=stream)
        rows[:] = 1
        np.testing.assert_array_equal(again.numpy(), expected)
        np.testing.assert_array_equal(out.numpy(), expected)
        # It is passed on as it is.
        kept = loaded["same"](np.array([2, 5], np.int32))[0]
        np.testing.assert_array_equal(loaded["pick"](x, kept, stream=stream).numpy(), [20, 50])

    run_local(2, main, backend="cuda")


def packed():
    """A table beside tensors in the memory of the GPU, and a part of one of the host."""

    def main(group):
        entry = group.load(TABLES)["gather"]
        x, rows = on_device(group, VALUES), table(group)
        out, found = on_device(group, np.zeros(3, np.float32)), np.zeros(3, np.float32)
        call = PackedEntry(entry, [0, 1], [2, 3])
        assert call(x, rows, out, found) is True
        np.testing.assert_array_equal(found, VALUES[rows])
        group.synchronize()
        np.testing.assert_array_equal(out.numpy(), found)
        # Each where the entry wants it.
        for wrong in ((VALUES, rows, out, found), (x, on_device(group, rows), out, found)):
            assert call(*wrong) is False
        call = PackedEntry(entry, [0, (1, 8, (-1,), "i32")], [2, 3])
        more = np.concatenate([np.zeros(2, np.int32), rows])
        found[:] = 0
        assert call(x, more, out, found) is True
        np.testing.assert_array_equal(found, VALUES[rows])

    run_local(2, main, backend="cuda")


def refusals():
    def main(group):
        entry = group.load(TABLES)["gather"]
        x, rows = on_device(group, VALUES), table(group)
        gpu = group.rank % GPUS
        what = (
            "expected a tensor in host memory, since the CPU uses it during the call, got one on "
            f"device {gpu}; copy it to the host, or give host memory to write to"
        )
        error = refused(entry, x, on_device(group, rows))
        assert error.message == f"rank {group.rank}: argument 1 of entry 'gather': {what}"
        assert (error.expected, error.seen) == ("host memory", f"device {gpu}")
        out = on_device(group, np.zeros(3, np.float32))
        error = refused(entry.into, [out, out], x, rows)
        assert error.message == f"rank {group.rank}: output 1 of entry 'gather': {what}"

    run_local(2, main, backend="cuda")


def torch_tensors():
    """Results of the host are tensors of torch's on the CPU."""
    try:
        import torch
    except ImportError:
        print("skipped: torch is not installed")
        sys.exit(0)
    if not torch.cuda.is_available():
        print("skipped: torch finds no GPU that it can use")
        sys.exit(0)

    def main(group):
        loaded = group.load(TABLES)
        device = torch.device(group.device)
        with torch.cuda.device(device):
            x, rows = torch.from_numpy(VALUES).to(device), torch.from_numpy(table(group))
            for given in (rows, rows.pin_memory()):
                out, found = loaded["gather"](x, given)
                assert (out.device, found.device.type) == (device, "cpu")
                assert (type(found), found.dtype) == (torch.Tensor, torch.float32)
                assert found.tolist() == VALUES[table(group)].tolist() == out.tolist()
                loaded["gather"].into((out, found), x, given + 1 - 1)

    run_local(2, main, backend="cuda")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print("done")
