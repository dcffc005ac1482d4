"""What test_cuda.py runs, each in a process with the driver that interprets PTX.

``python cuda_scenes.py SCENE FOLDER``: FOLDER has the artifacts. scripts/test-gpu runs the
same on GPUs. Three ranks share what GPUs there are.
"""

import pathlib
import sys
import threading
import time
from typing import NoReturn

import numpy as np
from moe_mlir._runtime import PackedEntry

from moe_mlir.runtime import Code, Group, MoEError, Tensor, run_local

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test" / "GPU"))
import cuda

F32 = np.float32
FOLDER = sys.argv[2]
GPUS = cuda.Driver().num_devices()


def refused(call, *arguments, **options) -> MoEError:
    try:
        call(*arguments, **options)
    except MoEError as error:
        return error
    raise AssertionError("nothing was raised")


def on_device(group, values: np.ndarray) -> Tensor:
    """A tensor of the group's GPU: symmetric memory with these values."""
    names = {"float32": "f32", "int32": "i32"}
    tensor = group.empty(values.shape, names[values.dtype.name], like="tensor")
    tensor.copy_from(values)
    return tensor


def arguments(rank: int):
    x = np.arange(12, dtype=F32).reshape(3, 4) + 100 * rank
    idx = np.array([[0, 2], [4, 4], [5, -1]], np.int32)
    return x, idx, np.ones((3, 2), F32)


def expected(rank: int):
    x, idx, _ = arguments(rank)
    ranks = [len({e // 2 for e in row if e >= 0}) for row in idx.tolist()]
    return x * np.array(ranks, F32).reshape(-1, 1)


def skip(reason: str) -> NoReturn:
    print(f"skipped: {reason}")
    sys.exit(0)


def describe():
    def main(group):
        gpu = group.rank % GPUS
        assert group.device == f"cuda:{gpu}"
        assert group.device_name
        assert group.target.startswith("cuda:sm_"), group.target
        assert repr(group) == f"<rank {group.rank} of 2 on cuda:{gpu}>"

    run_local(2, main, backend="cuda")


def host_arrays():
    """They are uploaded; results are tensors on the GPU, complete on return."""

    def main(group):
        entry = group.load(f"{FOLDER}/exchange.so")["exchange"]
        out, received = entry(*arguments(group.rank))
        assert isinstance(out, Tensor) and isinstance(received, Tensor)
        assert repr(out) == f"Tensor(f32[3, 4], GPU {group.rank % GPUS})"
        assert out.__dlpack_device__() == (2, group.rank % GPUS)
        np.testing.assert_array_equal(out.numpy(), expected(group.rank))
        np.testing.assert_array_equal(np.asarray(out), expected(group.rank))
        try:
            memoryview(out)
        except BufferError as error:
            assert str(error) == "the tensor is not in host memory; numpy() copies it"
        else:
            raise AssertionError

    run_local(3, main, backend="cuda")


def launches_into():
    """On a stream, without waiting; tensors are the runtime's."""

    def main(group):
        entry = group.load(f"{FOLDER}/exchange.so")["exchange"]
        given = [on_device(group, a) for a in arguments(group.rank)]
        outs = [on_device(group, np.zeros((3, 4), F32)), on_device(group, np.zeros(3, np.int32))]
        driver = cuda.Driver()
        driver.use(group.rank % GPUS)
        stream = driver.stream().value
        for _ in range(3):
            entry.into(outs, *given, stream=stream)
        group.synchronize(stream)
        group.check()
        np.testing.assert_array_equal(outs[0].numpy(), expected(group.rank))
        result, _ = entry(*given, stream=stream)
        # Reading it waits for the stream.
        np.testing.assert_array_equal(result.numpy(), expected(group.rank))
        result, _ = entry(*given)
        np.testing.assert_array_equal(result.numpy(), expected(group.rank))

    run_local(3, main, backend="cuda")


def packed():
    """Parts of tensors in the memory of the GPU; those of the host are not taken."""

    def main(group):
        entry = group.load(f"{FOLDER}/exchange.so")["exchange"]
        # Ids and weights lie in one tensor, the counts behind the rows.
        call = PackedEntry(
            entry, [0, (1, 0, (3, 2), "i32"), (1, 32, (3, 2), "f32")],
            [(2, 0, (3, 4), "f32"), (2, 48, (-1,), "i32")],
        )  # fmt: skip
        x, idx, weights = arguments(group.rank)
        both = np.zeros(14, np.int32)
        both[:6], both[8:] = idx.ravel(), weights.ravel().view(np.int32)
        given = on_device(group, x), on_device(group, both)
        out = on_device(group, np.zeros(15, np.int32))
        assert call(x, given[1], out) is False
        assert not out.numpy().any()
        assert call(*given, out) is True
        group.synchronize()
        found = out.numpy()
        np.testing.assert_array_equal(found[:12].view(F32).reshape(3, 4), expected(group.rank))
        _, received = entry(*arguments(group.rank))
        np.testing.assert_array_equal(found[12:], received.numpy())

    run_local(3, main, backend="cuda")


def replayed_graph():
    """A call into given outputs is captured, and replayed with other inputs."""

    def main(group):
        entry = group.load(f"{FOLDER}/exchange.so")["exchange"]
        given = [on_device(group, a) for a in arguments(group.rank)]
        outs = [on_device(group, np.zeros((3, 4), F32)), on_device(group, np.zeros(3, np.int32))]
        driver = cuda.Driver()
        driver.use(group.rank % GPUS)
        stream = driver.stream()
        entry.into(outs, *given, stream=stream.value)
        group.synchronize(stream.value)
        driver.begin_capture(stream)
        entry.into(outs, *given, stream=stream.value)
        graph = driver.end_capture(stream)
        for factor in (2, 3):
            x = arguments(group.rank)[0]
            given[0].copy_from(x * factor)
            driver.launch_graph(graph, stream)
            group.synchronize(stream.value)
            np.testing.assert_array_equal(outs[0].numpy(), expected(group.rank) * factor)
        driver.destroy_graph(graph)

    run_local(3, main, backend="cuda")


def work_of_a_call():
    """What is captured of it: kernels write to given outputs, so no result is copied.

    No rank allocates, copies or frees while another one, a thread here, captures.
    """
    together = threading.Barrier(3)

    def main(group):
        loaded = group.load(f"{FOLDER}/exchange.so")
        given = [on_device(group, a) for a in arguments(group.rank)]
        made = {
            "f32": [(24, 4), (24, 2)],
            "i32": [(24, 2), (24,), (3,), (3,), (3, 3)],
        }
        rows, weights, ids, source, to, came_from, send_row = (
            group.empty(shape, dtype, like="tensor") for dtype in made for shape in made[dtype]
        )
        driver = cuda.Driver()
        driver.use(group.rank % GPUS)
        stream = driver.stream()
        outs = {
            # The exchange, and rows that go to the outputs from where they arrive.
            "dispatch": ([rows, ids, weights, source, to, came_from, send_row], 2),
            # Rows stay where they arrive.
            "receive": ([rows, came_from], 1),
        }
        # An allocation waits for the kernels of a GPU, and ranks share one.
        together.wait(60)
        for entry, (results, _) in outs.items():
            loaded[entry].into(results, *given, stream=stream.value)
            group.synchronize(stream.value)
        together.wait(60)
        work = {}
        for entry, (results, _) in outs.items():
            driver.begin_capture(stream)
            loaded[entry].into(results, *given, stream=stream.value)
            work[entry] = driver.count_captured(stream)
        together.wait(60)
        assert work == {entry: expected for entry, (_, expected) in outs.items()}

    run_local(3, main, backend="cuda")


def graph_of_a_closed_group():
    """A replay touches nothing that was freed, waits for nobody, and the group says so."""

    def main(group):
        entry = group.load(f"{FOLDER}/exchange.so")["exchange"]
        # The memory is another group's: what it has of a group keeps that.
        gpu = group.rank % GPUS
        owner = Group.local(1, backend="cuda", device=gpu)[0]
        given = [on_device(owner, a) for a in arguments(group.rank)]
        outs = [on_device(owner, np.zeros((3, 4), F32)), on_device(owner, np.zeros(3, np.int32))]
        driver = cuda.Driver()
        driver.use(gpu)
        stream = driver.stream()
        entry.into(outs, *given, stream=stream.value)
        group.synchronize(stream.value)
        driver.begin_capture(stream)
        entry.into(outs, *given, stream=stream.value)
        graph = driver.end_capture(stream)
        driver.launch_graph(graph, stream)
        group.synchronize(stream.value)
        np.testing.assert_array_equal(outs[0].numpy(), expected(group.rank))
        group.close()
        begun = time.monotonic()
        for _ in range(3):
            driver.launch_graph(graph, stream)
        owner.synchronize(stream.value)
        assert time.monotonic() - begun < 50
        error = refused(group.check)
        assert error.message == (
            f"rank {group.rank}: check: the group is closed; a CUDA graph had calls of it, whose "
            "replays give no results any more"
        )
        assert (error.expected, error.seen) == ("an open group", "a closed one")
        driver.destroy_graph(graph)
        owner.close()

    run_local(3, main, backend="cuda")


def refusals():
    if GPUS < 2:
        skip("there is no other GPU whose tensors could be refused")

    def main(group):
        entry = group.load(f"{FOLDER}/exchange.so")["exchange"]
        x, idx, weights = arguments(group.rank)
        entry(x, idx, weights)
        # Where ranks meet: an error stops those that are a call behind.
        group.free(group.empty((4,), "f32", like="tensor"))
        other = Group.local(1, backend="cuda", device=(group.rank + 1) % GPUS)[0]
        elsewhere = on_device(other, x)
        mine = group.device.removeprefix("cuda:")
        theirs = other.device.removeprefix("cuda:")
        message = f"expected a tensor on device {mine}, got one on device {theirs}"
        error = refused(entry, elsewhere, idx, weights)
        assert "expected a tensor on device " in error.message, error.message
        if error.origin == group.rank:
            assert error.message == (
                f"rank {group.rank}: argument 0 of entry 'exchange': {message}"
            )
            assert (error.expected, error.seen) == (f"device {mine}", f"device {theirs}")
        group.reset()
        out = np.zeros((3, 4), F32), np.zeros(3, np.int32)
        error = refused(entry.into, out, x, idx, weights)
        assert "output 0 of entry 'exchange': expected a tensor on device " in error.message
        group.reset()
        try:
            group.empty((1,), "f32", like="numpy")
        except ValueError as wrong:
            assert str(wrong) == (
                f"empty: expected like = 'torch', 'cupy' or 'tensor' on {group.device}, whose "
                "memory numpy cannot have, got 'numpy'"
            )
        entry(x, idx, weights)
        other.close()

    run_local(3, main, backend="cuda")


def failed_check():
    """A kernel's error has its parts on all ranks."""

    def main(group):
        entry = group.load(f"{FOLDER}/exchange.so")["exchange"]
        x, idx, weights = arguments(group.rank)
        if group.rank == 1:
            idx[1, 0] = 17
        error = refused(entry, x, idx, weights)
        assert error.code == (Code.INVALID_EXPERT if group.rank == 1 else Code.PEER_FAILED)
        assert error.cause == Code.INVALID_EXPERT
        assert (error.rank, error.origin) == (group.rank, 1)
        assert (error.op, error.phase) == ("moe.dispatch", "count"), error.phase
        assert error.location == "exchange.mlir:6:5"
        assert error.what == "expert id of token 1, slot 0"
        assert (error.expected, error.seen) == ("-1 to 5", "17")

    run_local(3, main, backend="cuda")


def plan_is_built_for_the_gpu():
    class Plan:
        data = pathlib.Path(FOLDER, "exchange.so").read_bytes()

        def build(self, ranks, target):
            assert ranks == 3
            assert target.startswith("cuda:sm_")
            return self

    run_local(3, lambda group: group.load(Plan()) and None, backend="cuda")


def torch_tensors():
    """Results from torch's allocator, on its current stream; a graph that torch captures."""
    try:
        import torch
    except ImportError:
        skip("torch is not installed")
    if not torch.cuda.is_available():
        skip("torch finds no GPU that it can use")

    def main(group):
        entry = group.load(f"{FOLDER}/exchange.so")["exchange"]
        device = torch.device(group.device)
        stream = torch.cuda.Stream(device)
        with torch.cuda.device(device), torch.cuda.stream(stream):
            given = [torch.from_numpy(a).to(device) for a in arguments(group.rank)]
            out, received = entry(*given)
            assert type(out) is torch.Tensor, type(out)
            assert (out.device, received.dtype) == (device, torch.int32)
            stream.synchronize()
            np.testing.assert_array_equal(out.cpu().numpy(), expected(group.rank))
            graph = torch.cuda.CUDAGraph()
            # Other threads of the process capture, too.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                entry.into((out, received), *given)
            for factor in (2, 3):
                given[0].copy_(torch.from_numpy(arguments(group.rank)[0] * factor))
                out.fill_(-1)
                graph.replay()
                stream.synchronize()
                group.check()
                wanted = expected(group.rank) * factor
                np.testing.assert_array_equal(out.cpu().numpy(), wanted)

    run_local(3, main, backend="cuda")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print("done")
