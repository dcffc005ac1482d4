"""Calls on arrays of all kinds."""

import array
import ctypes
import gc
import importlib.util
import subprocess
import sys
import threading
import weakref

import ml_dtypes
import numpy as np
import pytest

from moe_mlir.runtime import Group, MoEError, TensorType

DTYPES = {
    "f64": np.float64,
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E5M2": ml_dtypes.float8_e5m2,
    "i64": np.int64,
    "i32": np.int32,
    "i16": np.int16,
    "i8": np.int8,
    "i1": np.bool_,
}


@pytest.fixture
def group():
    with Group.from_env() as made:
        yield made


@pytest.fixture
def local(group, by_hand):
    return group.load(by_hand / "local.so")


@pytest.mark.parametrize("name", DTYPES)
def test_every_element_type(local, name):
    given = np.arange(6).reshape(2, 3).astype(DTYPES[name])
    result = local[f"copy_{name}"](given)
    assert result.dtype == given.dtype
    assert result.shape == (2, 3)
    assert result.tobytes() == given.tobytes()
    assert not np.shares_memory(result, given)
    result[0, 0] = 1  # it is the caller's


@pytest.mark.parametrize("name", DTYPES)
def test_every_element_type_into(local, name):
    given = np.arange(6).reshape(2, 3).astype(DTYPES[name])
    out = np.zeros((2, 3), DTYPES[name])
    assert local[f"copy_{name}"].into(out, given) is None
    assert out.tobytes() == given.tobytes()


def test_strided_arguments(local):
    given = np.arange(24, dtype=np.float32).reshape(4, 6)
    for view in (given.T, given[::2, ::-3], given[1:, 2:], given[:0], given[:, :0]):
        np.testing.assert_array_equal(local["copy_f32"](view), view)


def test_reads_what_may_not_be_written(local):
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    given.flags.writeable = False
    np.testing.assert_array_equal(local["copy_f32"](given), given)


def test_no_one_and_several_results(local, by_hand):
    assert local["scalar"](np.array(2.5)) == 5
    results = local["many"](np.ones((2, 2), np.float32))
    assert isinstance(results, tuple)
    assert [r.tolist() for r in results] == [[[1, 1], [1, 1]]] * 2


def test_result_as_a_view_is_dense(local):
    given = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(local["column"](given), given[:, 3:])


def test_buffers_of_other_types(local):
    numbers = array.array("f", [1, 2, 3, 4])
    view = memoryview(numbers).cast("B").cast("f", (2, 2))
    result = local["copy_f32"](view)
    assert isinstance(result, np.ndarray)
    assert result.tolist() == [[1, 2], [3, 4]]
    # The buffer has been given back.
    view.release()
    numbers.append(5)


def test_arrays_of_ctypes(group, local):
    """Their buffers say no strides, whatever was asked for."""
    given = ((ctypes.c_float * 3) * 2)((1, 2, 3), (4, 5, 6))
    assert local["copy_f32"](given).tolist() == [[1, 2, 3], [4, 5, 6]]
    out = ((ctypes.c_float * 3) * 2)()
    local["copy_f32"].into(out, given)
    assert [list(row) for row in out] == [[1, 2, 3], [4, 5, 6]]
    assert local["scalar"](ctypes.c_double(2.5)) == 5
    tensor = group.empty((2, 3), "f32", like="tensor")
    tensor.copy_from(given)
    assert tensor.numpy().tolist() == [[1, 2, 3], [4, 5, 6]]
    back = (ctypes.c_float * 6)()
    tensor.copy_to(back)
    assert list(back) == [1, 2, 3, 4, 5, 6]
    made = group.empty(4, "f32")
    group.free((ctypes.c_float * 4).from_buffer(made))


class Versioned:
    """A producer of DLPack that knows versions."""

    def __init__(self, of):
        self.of = of

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        assert stream is None
        assert max_version == (1, 0)
        return self.of.__dlpack__(max_version=max_version)

    def __dlpack_device__(self):
        return self.of.__dlpack_device__()


class Unversioned(Versioned):
    """One of before DLPack 1.0."""

    def __dlpack__(self, stream=None):
        return self.of.__dlpack__()


@pytest.mark.parametrize("kind", [Versioned, Unversioned])
def test_any_producer_of_dlpack(local, kind):
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    result = local["copy_f32"](kind(given))
    # Its framework is not known, so the result is the runtime's own.
    assert repr(result) == "Tensor(f32[2, 3])"
    np.testing.assert_array_equal(np.from_dlpack(result), given)
    np.testing.assert_array_equal(result.numpy(), given)
    out = np.zeros_like(given)
    local["copy_f32"].into(kind(out), given)
    np.testing.assert_array_equal(out, given)


def test_producer_without_a_capsule(local):
    class Wrong(Unversioned):
        def __dlpack__(self, stream=None):
            return 7

    with pytest.raises(TypeError) as error:
        local["copy_f32"](Wrong(np.zeros((1, 1), np.float32)))
    assert str(error.value) == (
        "argument 0 of entry 'copy_f32': __dlpack__ of test_calls.Wrong returned no DLPack capsule"
    )


def test_arguments_are_given_back(local):
    given = np.ones((2, 2), np.float32)
    gone = weakref.ref(given)
    for wrapped in (given, Versioned(given), Unversioned(given)):
        local["copy_f32"](wrapped)
        with pytest.raises(MoEError):
            local["copy_f64"](wrapped)
    del given, wrapped
    gc.collect()
    assert gone() is None


OWN_CLASS = """
import gc, sys, weakref
import numpy as np
from moe_mlir.runtime import Group

class Mine:
    def __init__(self, of):
        self.of = of
    def __dlpack__(self, **options):
        return self.of.__dlpack__()
    def __dlpack_device__(self):
        return (1, 0)

entry = Group.from_env().load(sys.argv[1] + "/local.so")["copy_f32"]
ones = np.ones((1, 1), np.float32)
for _ in range(3):
    # Each may lie where the one before has lain.
    class Passing(Mine):
        pass
    entry(Passing(ones))
    gone = weakref.ref(Passing)
    del Passing
    gc.collect()
    print(gone())
entry(Mine(ones))
"""


def test_classes_of_arrays_are_not_kept(by_hand):
    """Those of a program would keep its global variables, which nanobind tells at exit."""
    run = subprocess.run(
        [sys.executable, "-c", OWN_CLASS, str(by_hand)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (run.stdout, run.stderr, run.returncode) == ("None\nNone\nNone\n", "", 0)


class TorchStream:
    cuda_stream = 0


class CupyStream:
    ptr = 0


@pytest.mark.parametrize("stream", [0, np.int64(0), TorchStream(), CupyStream()])
def test_streams(group, local, stream):
    """The host has none, but takes what programs for GPUs pass."""
    given = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(local["copy_f32"](given, stream=stream), given)
    local["copy_f32"].into(np.empty_like(given), given, stream=stream)
    group.synchronize(stream)


@pytest.mark.parametrize(
    ("stream", "kind", "got"),
    [
        (object(), TypeError, "object"),
        (True, TypeError, "bool"),
        ("7", TypeError, "str"),
        (-1, ValueError, "-1"),
        (1 << 64, ValueError, "18446744073709551616"),
    ],
)
def test_no_stream(group, local, stream, kind, got):
    x = np.zeros((1, 1), np.float32)
    tensor = group.empty(1, "f32", like="tensor")
    for call in (
        lambda: local["copy_f32"](x, stream=stream),
        lambda: local["copy_f32"].into(x, x, stream=stream),
        lambda: group.synchronize(stream),
        # Of DLPack's -1 says that no order is wanted.
        lambda: tensor.__dlpack__(stream=stream if stream != -1 else -2),
    ):
        with pytest.raises(kind) as error:
            call()
        assert str(error.value).replace("-2", "-1") == (
            "stream: expected the handle of a CUDA stream, an integer such as "
            f"torch.cuda.Stream.cuda_stream, or a stream of torch or CuPy, got {got}"
        )
    tensor.__dlpack__(stream=-1)


JAX = """
import sys
import jax
from moe_mlir.runtime import Group
with Group.from_env() as group:
    entry = group.load(f"{sys.argv[1]}/local.so")["copy_bf16"]
    given = jax.numpy.arange(6, dtype=jax.numpy.bfloat16).reshape(2, 3)
    result = entry(given)
    print(isinstance(result, jax.Array), bool((result == given).all()))
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax(by_hand):
    # Not in this process, whose other tests fork.
    run = subprocess.run(
        [sys.executable, "-c", JAX, str(by_hand)], capture_output=True, text=True, timeout=120
    )
    assert run.stdout == "True True\n", run.stderr


torch_missing = importlib.util.find_spec("torch") is None
needs_torch = pytest.mark.skipif(torch_missing, reason="torch is not installed")


@needs_torch
@pytest.mark.parametrize("name", [n for n in DTYPES if not n.startswith("f8")])
def test_torch(local, name):
    import torch

    from moe_mlir.runtime import dtypes

    given = torch.arange(6).reshape(2, 3).to(getattr(torch, dtypes.NAMES[name]))
    result = local[f"copy_{name}"](given)
    assert isinstance(result, torch.Tensor)
    assert result.dtype == given.dtype
    assert torch.equal(result, given)
    out = torch.zeros_like(given)
    local[f"copy_{name}"].into([out], given)
    assert torch.equal(out, given)
    assert torch.equal(local[f"copy_{name}"](given.T), given.T)


@needs_torch
def test_torch_results_are_the_frameworks_own(group, scale):
    import torch

    entry = group.load(scale)["scale"]
    given = torch.ones(5, 4, requires_grad=True)
    result = entry(given.detach(), torch.tensor(2.0))
    assert result.is_contiguous()
    assert type(result) is torch.Tensor
    assert torch.equal(result, torch.full((5, 4), 2.0))


def test_results_whose_shape_an_argument_tells(group, scale):
    entry = group.load(scale)["scale"]
    given = np.arange(8, dtype=np.float32).reshape(2, 4)
    result = entry(given, np.array(3, np.float32))
    np.testing.assert_array_equal(result, 3 * given)
    assert result.flags.owndata  # numpy allocated it
    out = np.empty((2, 4), np.float32)
    entry.into((out,), given, np.array(2, np.float32))
    np.testing.assert_array_equal(out, 2 * given)


def test_results_outlive_the_group(by_hand):
    with Group.from_env() as group:
        given = np.arange(6, dtype=np.float32).reshape(2, 3)
        result = group.load(by_hand / "local.so")["copy_f32"](given)
    np.testing.assert_array_equal(result, given)


def test_types_of_an_entry(group, scale, by_hand):
    entry = group.load(scale)["scale"]
    assert entry.name == "scale"
    assert entry.arguments == (TensorType("f32", (None, 4)), TensorType("f32", ()))
    assert entry.results == (TensorType("f32", (None, 4)),)
    assert repr(entry) == "scale(f32[?, 4], f32[]) -> (f32[?, 4])"
    assert str(TensorType("bf16", (None, 8), True)) == "bf16[?, 8] symmetric"


def test_other_threads_run_during_a_call(by_hand):
    # A rank that comes 300 ms late, in a process with one interpreter lock.
    from moe_mlir.runtime import run_local

    ticks = []
    done = threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(1)

    def main(group):
        entry = group.load(by_hand / "exchange2.so")["gather"]
        slow, one = np.array(9, np.int64), np.array(1, np.int64)
        during = []
        for _ in range(5):
            before = len(ticks)
            entry(slow, one, np.ones((1, 4), np.float32))
            during.append(len(ticks) - before)
        return during

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        during = run_local(2, main)[0]
    finally:
        done.set()
        ticker.join()
    # Hundreds on a quiet machine; one or none if a call kept the lock.
    assert max(during) > 5, during
