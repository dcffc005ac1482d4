"""Bad input and errors: what is said, with which fields, and that life goes on."""

import copy
import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest

from moe_mlir.runtime import Code, Group, MoEError, run_local

F32 = np.float32


@pytest.fixture
def group():
    with Group.from_env() as made:
        yield made


@pytest.fixture
def local(group, by_hand):
    return group.load(by_hand / "local.so")


def refused(call, *arguments, **options) -> MoEError:
    """The error of a call that is refused."""
    with pytest.raises(MoEError) as error:
        call(*arguments, **options)
    assert error.value.code == Code.INVALID_ARGUMENT
    assert str(error.value) == error.value.message
    return error.value


# Arguments


def test_wrong_dtype(local):
    error = refused(local["copy_f32"], np.zeros((1, 1)))
    assert error.message == (
        "rank 0: argument 0 of entry 'copy_f32': expected element type f32, got f64"
    )
    assert (error.what, error.expected, error.seen) == (
        "argument 0 of entry 'copy_f32'",
        "f32",
        "f64",
    )
    assert (error.rank, error.origin, error.cause, error.peer) == (
        0,
        0,
        Code.INVALID_ARGUMENT,
        None,
    )


def test_wrong_rank_and_extent(group, local, scale):
    error = refused(local["copy_f32"], np.zeros(3, F32))
    assert error.message == (
        "rank 0: argument 0 of entry 'copy_f32': expected rank 2 f32[?, ?], got rank 1 [3]"
    )
    error = refused(group.load(scale)["scale"], np.zeros((2, 5), F32), np.array(1, F32))
    assert error.message == (
        "rank 0: argument 0 of entry 'scale': expected extent 4 in dimension 1 of f32[?, 4], "
        "got [2, 5]"
    )
    assert (error.expected, error.seen) == ("f32[?, 4]", "[2, 5]")


def test_wrong_number_of_arguments(local):
    error = refused(local["copy_f32"])
    assert error.message == "rank 0: entry 'copy_f32' has 1 arguments, but 0 were given"
    assert (error.expected, error.seen) == ("1", "0")


def test_no_array(local):
    with pytest.raises(TypeError) as error:
        local["copy_f32"]("x")
    assert str(error.value) == (
        "argument 0 of entry 'copy_f32': expected an array (of numpy, torch, CuPy, JAX, or with "
        "__dlpack__ or the buffer protocol), got str"
    )


def test_elements_that_no_entry_has(local):
    with pytest.raises(TypeError) as error:
        local["copy_f32"](np.zeros((1, 1), np.complex64))
    assert str(error.value) == (
        "argument 0 of entry 'copy_f32': elements of format 'Zf' are none of an entry's; "
        "expected a type such as float32"
    )
    with pytest.raises(TypeError) as error:
        local["copy_f32"](np.zeros((1, 1), "datetime64[s]"))
    assert str(error.value) == (
        "argument 0 of entry 'copy_f32': elements of numpy's type datetime64[s] are none of an "
        "entry's; expected a type such as float32"
    )


def test_stride_between_elements(local):
    records = np.zeros(4, [("a", F32), ("b", np.int8)])
    error = refused(local["copy_f32"], records["a"].reshape(2, 2))
    assert error.message == (
        "argument 0 of entry 'copy_f32': the stride of dimension 0 is 10 bytes, no multiple of "
        "an element's 4"
    )


# Outputs


def test_wrong_outputs(group, scale):
    entry = group.load(scale)["scale"]
    x, by = np.ones((2, 4), F32), np.array(2, F32)
    cases = [
        (np.zeros((2, 4)), "output 0 of entry 'scale': expected element type f32, got f64"),
        (
            np.zeros((3, 4), F32),
            "output 0 of entry 'scale': expected extent 2 in dimension 0 of f32[2, 4], got [3, 4]",
        ),
        (
            np.zeros((4, 2), F32).T,
            "output 0 of entry 'scale': expected a dense row-major tensor, got one with other "
            "strides",
        ),
        (x, "output 0 of entry 'scale': it shares memory with argument 0"),
        ([], "entry 'scale' has 1 results, but 0 outputs were given"),
    ]
    for out, message in cases:
        assert refused(entry.into, out, x, by).message == f"rank 0: {message}"
    unaligned = np.zeros(33, np.int8)[1:].view(F32).reshape(2, 4)
    assert "expected memory aligned to 4 bytes" in refused(entry.into, unaligned, x, by).message
    fixed = np.zeros((2, 4), F32)
    fixed.flags.writeable = False
    assert refused(entry.into, fixed, x, by).message == (
        "output 0 of entry 'scale': the array is read-only"
    )
    # And it goes on.
    out = np.zeros((2, 4), F32)
    entry.into(out, x, by)
    assert (out == 2).all()


# Artifacts


def test_no_artifact(group, by_hand, tmp_path):
    error = refused(group.load, b"junk")
    assert error.message == (
        "rank 0: artifact in memory: not an artifact, or only a part of one"
    )
    assert "junk.so" in refused(group.load, b"junk", name="junk.so").message
    with pytest.raises(MoEError) as missing:
        group.load(tmp_path / "none.so")
    assert missing.value.code == Code.IO
    assert missing.value.message == (
        f"rank 0: {tmp_path}/none.so: cannot open the artifact: No such file or directory"
    )
    with pytest.raises(TypeError) as wrong:
        group.load(7)
    assert str(wrong.value) == (
        "expected an artifact: a path, bytes, an object with `data: bytes` (such as "
        "moe_mlir.compile returns) or with `build(ranks, target)` (such as Exchange), got int"
    )
    with pytest.raises(TypeError) as options:
        group.load(by_hand / "local.so", cache=False)
    assert str(options.value) == (
        "load: expected no options for an artifact that is built, got ['cache']"
    )


def test_artifact_for_other_ranks(group, by_hand):
    with pytest.raises(MoEError) as error:
        group.load(by_hand / "exchange2.so")
    assert error.value.code == Code.ABI_MISMATCH
    assert error.value.message.endswith("the artifact is for 2 ranks, but the group has 1")


def test_unknown_entry(local):
    with pytest.raises(KeyError) as error:
        local["scaler"]
    assert "has no entry 'scaler'; its entries are: 'copy_f64', " in str(error.value)
    with pytest.raises(KeyError) as error:
        local.entry()
    assert "has 16 entries ('copy_f64', " in str(error.value)


def test_artifact_whose_unloading_failed_is_unloaded(by_hand):
    """Where another rank does something else: what is left of it is not used."""

    def main(group):
        loaded = group.load(by_hand / "local.so")
        if group.rank == 0:
            with pytest.raises(MoEError):
                loaded.unload()
        else:
            with pytest.raises(MoEError):
                group.empty((1,), "f32")
        group.reset()
        if group.rank == 0:
            error = refused(loaded["copy_f32"], np.zeros((1, 1), F32))
            assert "has been unloaded" in error.message

    run_local(2, main)


def test_unloaded_artifact(group, by_hand):
    loaded = group.load(by_hand / "local.so")
    entry = loaded["copy_f32"]
    loaded.unload()
    loaded.unload()
    error = refused(entry, np.zeros((1, 1), F32))
    assert error.message == (
        f"rank 0: entry 'copy_f32': artifact {by_hand}/local.so has been unloaded"
    )
    with pytest.raises(MoEError):
        _ = entry.arguments
    assert repr(loaded) == f"<artifact {by_hand}/local.so, unloaded>"


@pytest.mark.parametrize(("name", "shown"), [(None, "in memory"), ("mine.so", "mine.so")])
def test_unloaded_artifact_of_bytes(group, by_hand, name, shown):
    loaded = group.load((by_hand / "local.so").read_bytes(), name=name)
    entry = loaded["copy_f32"]
    with pytest.raises(KeyError, match=f"artifact {shown} has no entry 'none'"):
        loaded["none"]
    loaded.unload()
    assert refused(entry, np.zeros((1, 1), F32)).message == (
        f"rank 0: entry 'copy_f32': artifact {shown} has been unloaded"
    )
    assert refused(lambda: loaded.manifest).message == f"artifact {shown} has been unloaded"
    assert repr(loaded) == f"<artifact {shown}, unloaded>"


# Groups


def test_closed_group(by_hand):
    group = Group.from_env()
    entry = group.load(by_hand / "local.so")["copy_f32"]
    group.close()
    group.close()
    assert group.is_closed
    assert repr(group) == "<rank 0 of 1, closed>"
    error = refused(entry, np.zeros((1, 1), F32))
    assert error.message == "rank 0: entry 'copy_f32': the group is closed"
    for use in (group.check, group.reset, group.timings, lambda: group.load(b"x")):
        assert refused(use).message.endswith(": the group is closed")
    assert repr(entry) == "copy_f32"


def test_no_group():
    with pytest.raises(TypeError) as error:
        Group(3)
    assert str(error.value).startswith("make a group by Group.from_env(), ")
    range_ = "more than 0 and at most 1e6 seconds"
    for timeout in (-1, 0, float("nan"), float("inf"), 1e9):
        for make in (Group.from_env, lambda **options: Group.local(2, **options)):
            error = refused(make, timeout=timeout)
            assert error.message == f"timeout: expected {range_}, got {float(timeout)}"
            assert (error.expected, error.seen) == (range_, str(float(timeout)))
    with pytest.raises(MoEError) as unknown:
        Group.from_env(backend="tpu")
    assert unknown.value.code == Code.UNAVAILABLE
    assert refused(Group.local, 0).message == "a group of 0 ranks; it has 1 to 65536"


def test_failed_check_on_all_ranks(exchange):
    """Every rank has the parts of the first error."""

    def main(group):
        entry = group.load(exchange)["exchange"]
        idx = np.zeros((2, 2), np.int32)
        if group.rank == 1:
            idx[1, 0] = 17
        try:
            entry(np.zeros((2, 4), F32), idx, np.ones((2, 2), F32))
        except MoEError as error:
            assert group.failed_rank == 1
            with pytest.raises(MoEError) as again:
                entry(np.zeros((2, 4), F32), np.zeros((2, 2), np.int32), np.ones((2, 2), F32))
            assert "must be reset on all ranks first" in again.value.message
            group.reset()
            # And it goes on.
            entry(np.zeros((2, 4), F32), np.zeros((2, 2), np.int32), np.ones((2, 2), F32))
            return error
        return None

    errors = run_local(3, main)
    for rank, error in enumerate(errors):
        assert error.code == (Code.INVALID_EXPERT if rank == 1 else Code.PEER_FAILED)
        assert error.cause == Code.INVALID_EXPERT
        assert (error.rank, error.origin) == (rank, 1)
        assert error.op == "moe.dispatch"
        assert error.location == "exchange.mlir:6:5"
        assert error.phase == "route"
        assert error.what == "expert id of token 1, slot 0"
        assert (error.expected, error.seen) == ("-1 to 5", "17")
        assert error.peer is None


def test_timed_out_wait(by_hand):
    has_failed = threading.Event()

    def main(group):
        entry = group.load(by_hand / "exchange2.so")["rotate"]
        entry(np.zeros((1, 4), F32))
        if group.rank == 1:
            assert has_failed.wait(60)  # It is still there, but in no call.
            return None
        try:
            with pytest.raises(MoEError) as error:
                entry(np.zeros((1, 4), F32))
        finally:
            has_failed.set()
        return error.value

    error = run_local(2, main, timeout=4)[0]
    assert error.code == Code.TIMEOUT
    assert error.peer == 1
    assert error.op == "test.rotate"


def test_ranks_do_different_things(by_hand):
    def main(group):
        loaded = group.load(by_hand / "exchange2.so")
        with pytest.raises(MoEError) as error:
            if group.rank == 0:
                loaded["rotate"](np.zeros((1, 4), F32))
            else:
                zero = np.array(0, np.int64)
                loaded["gather"](zero, zero, np.zeros((1, 4), F32))
        return error.value

    for error in run_local(2, main):
        assert error.code == Code.COLLECTIVE_MISMATCH
        assert "ranks do different things" in error.message
        assert {"rotate", "gather"} <= set(
            (error.expected + error.seen).replace("'", " ").split()
        )


def test_a_fork_is_not_the_rank(group, local):
    def child(pipe):
        texts = []
        for use in (group.check, lambda: local["copy_f32"](np.zeros((1, 1), F32))):
            try:
                use()
            except MoEError as error:
                texts.append((error.message, error.expected, error.seen))
        with Group.from_env() as own:  # a group of its own is fine
            texts.append(own.size)
        pipe.send(texts)

    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(there,))
    process.start()
    assert here.poll(30)
    (first, second, size) = here.recv()
    process.join(30)
    assert process.exitcode == 0
    mine, forked = os.getpid(), process.pid
    for message, expected, seen in (first, second):
        assert message == (
            f"rank 0 is process {mine}; this is process {forked}, a fork of it, which has to "
            "join a group with a context of its own"
        )
        assert (expected, seen) == (f"process {mine}", f"process {forked}")
    assert size == 1
    group.check()


def test_errors_travel(local):
    error = refused(local["copy_f32"], np.zeros((1, 1)))
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is MoEError
        assert other.__dict__ == error.__dict__
        assert str(other) == str(error)
