"""Symmetric memory, and arrays in memory of the runtime."""

import gc
import importlib.util
import sys

import ml_dtypes
import numpy as np
import pytest

from moe_mlir.runtime import Code, Group, MoEError, Tensor, run_local

F32 = np.float32


def arguments(rank: int, tokens: int = 3):
    """Tokens whose values say where they come from, each for two experts."""
    x = np.arange(tokens * 4, dtype=F32).reshape(tokens, 4) + 100 * rank
    idx = np.array([[t % 6, (t + 2) % 6] for t in range(tokens)], np.int32)
    return x, idx, np.ones((tokens, 2), F32)


def test_arrays_of_symmetric_memory():
    def main(group):
        for shape, dtype, expected in (
            ((3, 4), "bf16", ml_dtypes.bfloat16),
            (5, np.float64, np.float64),
            ([2, 0], "int32", np.int32),
            ((), np.dtype("i1"), np.int8),
        ):
            made = group.empty(shape, dtype)
            assert isinstance(made, np.ndarray)
            assert made.dtype == expected
            assert not made.any()
            if made.size:
                assert made.ctypes.data % 256 == 0
                made.fill(1)
                group.free(made)
        tensor = group.empty((2, 3), "f32", like="tensor")
        assert repr(tensor) == "Tensor(f32[2, 3], symmetric)"
        assert (tensor.shape, tensor.dtype, tensor.nbytes) == ((2, 3), "f32", 24)
        assert tensor.is_symmetric
        tensor.copy_from(np.full((2, 3), 7, F32))
        assert (tensor.numpy() == 7).all()
        group.free(tensor)
        with pytest.raises(MoEError) as freed:
            tensor.numpy()
        assert freed.value.message == (
            f"rank {group.rank}: the symmetric tensor has been freed"
        )

    run_local(2, main)


def test_wrong_memory():
    with Group.from_env() as group:
        with pytest.raises(TypeError) as error:
            group.empty((1,), "float31")
        assert str(error.value).startswith(
            "expected an element type such as 'bf16', numpy.float32 or torch.bfloat16 (one of f64, "
        )
        with pytest.raises(ValueError, match=r"expected extents of at least 0, got \(2, -1\)"):
            group.empty((2, -1), "f32")
        with pytest.raises(ValueError, match="expected like = 'numpy', 'torch', 'cupy' or 'tenso"):
            group.empty((1,), "f32", like="list")
        with pytest.raises(MoEError) as error:
            group.free(np.zeros(3, F32))
        assert error.value.code == Code.INVALID_ARGUMENT
        with pytest.raises(MoEError) as error:
            group.empty((1 << 45,), "f32")
        assert error.value.code == Code.OUT_OF_MEMORY
        group.check()


@pytest.mark.parametrize("shape", [(1 << 60, 4), (4, 1 << 61), (1 << 32, 1 << 32, 0)])
def test_memory_whose_size_has_no_64_bits(shape):
    with Group.from_env() as group:
        with pytest.raises(MoEError) as error:
            group.empty(shape, "f32", like="tensor")
        extents = ", ".join(map(str, shape))
        assert error.value.code == Code.INVALID_ARGUMENT
        assert error.value.message == (
            f"expected a tensor of less than 2^63 bytes, got f32[{extents}]"
        )
        assert error.value.seen == f"f32[{extents}]"
        with pytest.raises(ValueError, match=r"extents of less than 2\^63, got \(3, 9223372036854"):
            group.empty((3, 1 << 63), "f32")
        assert group.empty((1 << 62, 0), "i8", like="tensor").nbytes == 0


def test_what_is_an_extent():
    with Group.from_env() as group:
        for shape in (np.int64(3), np.array(3), [np.int32(3)], iter((3,)), np.array([3])):
            assert group.empty(shape, "f32").shape == (3,)
        for shape in (1.5, (1.5, 2.9), "34", None, (2, "3"), ((1,), 2)):
            with pytest.raises(TypeError) as error:
                group.empty(shape, "f32")
            assert str(error.value) == (
                f"empty: expected an integer or integers as shape, got {shape!r}"
            )
        with pytest.raises(ValueError, match=r"extents of at least 0, got \(-1,\)"):
            group.empty(np.int64(-1), "f32")


@pytest.mark.parametrize("like", ["numpy", "torch", "cupy", "ml_dtypes"])
def test_memory_that_becomes_no_array_is_not_lost(monkeypatch, like):
    """Because a package is missing: that is found out before there is memory."""
    dtype, kind = "f32", ModuleNotFoundError
    if like == "cupy":
        kind = ValueError  # no memory of the host
    elif like == "ml_dtypes":
        like, dtype = "numpy", "bf16"
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    else:
        monkeypatch.setitem(sys.modules, like, None)
    with Group.from_env(reserve=1 << 26) as group:
        for _ in range(8):
            with pytest.raises(kind):
                group.empty(1 << 22, dtype, like=like)
        assert group.empty(1 << 22, "f32", like="tensor").nbytes == 1 << 24


def test_ranks_ask_for_different_memory():
    def main(group):
        with pytest.raises(MoEError) as error:
            group.empty((group.rank + 1,), "f32")
        return error.value.code

    assert run_local(2, main) == [Code.COLLECTIVE_MISMATCH] * 2


def test_arrays_outlive_the_group():
    group = Group.from_env()
    array = group.empty((1000,), "i32")
    array[:] = np.arange(1000)
    tensor = group.empty((2,), "f32", like="tensor")
    group.close()
    # Their memory is still mapped; with the last of them it goes.
    assert array.sum() == 499500
    assert tensor.numpy().tolist() == [0, 0]
    del array, tensor
    gc.collect()


def test_symmetric_argument_and_result(by_hand):
    def main(group):
        entry = group.load(by_hand / "symmetric3.so")["from_next"]
        given = group.empty((4,), "f32")
        given[:] = group.rank
        result = entry(given)
        assert isinstance(result, Tensor)
        assert result.is_symmetric and not result.is_stale
        first = result.numpy().tolist()
        out = group.empty((4,), "f32")
        entry.into(out, given)
        second = out.tolist()
        group.free(out)  # where ranks meet: an error stops those that are behind
        with pytest.raises(MoEError) as error:
            entry(np.zeros(4, F32))
        assert "has to be symmetric memory" in error.value.message
        group.reset()
        return first, second

    for rank, (first, out) in enumerate(run_local(3, main)):
        assert first == [(rank + 1) % 3] * 4
        assert out == first


def test_stale_result(exchange):
    def main(group):
        receive = group.load(exchange)["receive"]
        given = arguments(group.rank)
        first, count = receive(*given)
        assert isinstance(count, np.ndarray)
        values = first.numpy().copy()
        second, _ = receive(*given)
        assert first.is_stale and not second.is_stale
        assert "stale" in repr(first)
        errors = []
        for use in (first.numpy, first.__dlpack__, lambda: np.asarray(first)):
            with pytest.raises(MoEError) as error:
                use()
            errors.append(error.value)
        valid = int(count.sum())
        np.testing.assert_array_equal(second.numpy()[:valid], values[:valid])
        # Memory of the caller's is not written over.
        keep = group.empty((24, 4), "f32")
        receive.into((keep, count), *given)
        receive(*given)
        np.testing.assert_array_equal(keep[:valid], values[:valid])
        return errors

    for rank, errors in enumerate(run_local(3, main)):
        for error in errors:
            assert error.message == (
                f"rank {rank}: a symmetric result of entry 'receive' is stale: a later call of "
                "the entry has written over it; give the entry memory of Group.empty to write to "
                "(into)"
            )
            assert (error.expected, error.seen) == (
                "the result of call 2",
                "that of call 1",
            )


def test_memory_of_another_group(by_hand):
    def main(group):
        other = Group.from_env()
        entry = group.load(by_hand / "symmetric1.so")["from_next"]
        with pytest.raises(MoEError) as error:
            entry(other.empty((4,), "f32"))
        with pytest.raises(MoEError):
            group.free(other.empty((4,), "f32"))
        other.close()
        return error.value.message

    (message,) = run_local(1, main)
    assert message == (
        "rank 0: argument 0 of entry 'from_next': it has to be symmetric memory, but it is not in "
        "this rank's slice of the symmetric heap"
    )


def test_export_by_dlpack():
    with Group.from_env() as group:
        tensor = group.empty((2, 3), "f32", like="tensor")
        assert tensor.__dlpack_device__() == (1, 0)
        view = np.from_dlpack(tensor)
        view[1, 2] = 5
        assert tensor.numpy()[1, 2] == 5
        # A capsule that nobody takes does not leak what it holds.
        tensor.__dlpack__()
        tensor.__dlpack__(max_version=(1, 0))
        with pytest.raises(BufferError, match="is handed out where it is, and not copied"):
            tensor.__dlpack__(copy=True)
        with pytest.raises(BufferError):
            tensor.__dlpack__(dl_device=(2, 0))


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)
def test_symmetric_tensors_of_torch(by_hand):
    import torch

    def main(group):
        made = group.empty((4,), torch.float32)
        assert isinstance(made, torch.Tensor)
        made += group.rank
        entry = group.load(by_hand / "symmetric3.so")["from_next"]
        out = group.empty((4,), "f32", like="torch")
        entry.into(out, made)
        group.free(out)
        return out.tolist()

    assert run_local(3, main) == [[1.0] * 4, [2.0] * 4, [0.0] * 4]
