"""What test_nccl.py runs, with the driver that interprets PTX and the NCCL beside it.

``python nccl_scenes.py SCENE``: each scene is run by the ranks of a launcher's job, or has
threads for ranks.
"""

import contextlib
import ctypes
import os
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "test" / "GPU"))

import numpy as np
from cuda import Driver
from hosts import exchanges, expect, refused, refuses_shared_memory

from moe_mlir.exchange import Exchange
from moe_mlir.runtime import Code, Group, Tensor, run_local


def two_hosts():
    """GPUs of two hosts: a plan compiles for messages by itself."""
    rank = int(os.environ["RANK"])
    os.environ["MOE_HOSTID"] = os.environ["NCCL_HOSTID"] = ("moe-a", "moe-b")[rank // 2]
    with Group.from_env(backend="cuda", device=rank % 2) as group:
        expect(group.hosts == {"moe-a": (0, 1), "moe-b": (2, 3)}, group.hosts)
        refuses_shared_memory(group, "--target nccl")
        exchanges(group)


def two_hosts_without_mpi():
    """On CPUs rows travel between hosts by MPI, which a launcher has to start."""
    os.environ["MOE_HOSTID"] = "moe-" + "ab"[int(os.environ["RANK"]) // 2]
    with Group.from_env() as group:
        refuses_shared_memory(group, "--transport=messages")
        error = refused(exchanges, group)
        for part in (
            "between the group's 2 hosts, moe-a (ranks 0 and 1) and moe-b (ranks 2 and 3), rows "
            "travel by MPI: MPI is not initialized in this process",
            "start the process by mpirun",
        ):
            expect(part in error.message, error)


class Lender:
    """The program's own NCCL, with a communicator for each of its threads."""

    class UniqueId(ctypes.Structure):
        _fields_ = (("bytes", ctypes.c_char * 128),)

    def __init__(self, size: int) -> None:
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.nccl = ctypes.CDLL("libnccl.so.2")
        self.size = size
        self.identity = self.UniqueId()
        self.nccl.ncclCommInitRank.argtypes = (
            ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, self.UniqueId, ctypes.c_int,
        )  # fmt: skip
        expect(self.cuda.cuInit(0) == 0)
        expect(self.nccl.ncclGetUniqueId(ctypes.byref(self.identity)) == 0)

    @contextlib.contextmanager
    def communicator(self, rank: int):
        context, comm = ctypes.c_void_p(), ctypes.c_void_p()
        expect(self.cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), rank) == 0)
        expect(self.cuda.cuCtxSetCurrent(context) == 0)
        made = self.nccl.ncclCommInitRank(ctypes.byref(comm), self.size, self.identity, rank)
        expect(made == 0, made)
        yield comm
        # It is still there, and the program's.
        count = ctypes.c_int()
        expect(self.nccl.ncclCommCount(comm, ctypes.byref(count)) == 0)
        expect(count.value == self.size, count)
        expect(self.nccl.ncclCommDestroy(comm) == 0)


def on_threads(size: int, body) -> None:
    """Run ``body(rank, allgather)`` on threads that have an all-gather."""
    barrier, parts = threading.Barrier(size, timeout=60), [b""] * size
    errors = []

    def run(rank):
        def gather(mine, timeout):
            parts[rank] = mine
            barrier.wait()
            every = b"".join(parts)
            barrier.wait()
            return every

        try:
            body(rank, gather)
        except BaseException as error:
            errors.append(f"rank {rank}: {type(error).__name__}: {error}")
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not errors, *errors)


def lent_communicator():
    """Messages go by it, and it is left as it was; a wrong one is refused."""
    lender = Lender(4)
    comms = [None] * 4
    ready = threading.Barrier(4, timeout=60)

    def body(rank, gather):
        def group(comm):
            return Group.from_allgather(
                rank, 4, gather, backend="cuda", device=rank, nccl_comm=comm
            )

        with lender.communicator(rank) as comm:
            comms[rank] = comm.value
            ready.wait()
            with group(comms[rank]) as mine:
                exchanges(mine, transport="messages")
            for wrong, text in ((comms[rank ^ 1], "communicator"), (0, "communicator")):
                with group(wrong) as mine:
                    error = refused(exchanges, mine, transport="messages")
                    expect(text in error.message, error)
                    expect(error.cause in (Code.INVALID_ARGUMENT, Code.UNAVAILABLE), error)
            ready.wait()

    on_threads(4, body)


def kept_blocks():
    """A combine whose dispatch has kept its blocks waits for nothing: it may be captured."""
    ranks = 3
    plan = Exchange(
        num_experts=7, top_k=3, hidden=8, dtype="f32", max_tokens=6, keep_blocks=True
    )
    generator = np.random.default_rng(1)
    x = generator.standard_normal((ranks, 6, 8), np.float32)
    idx = np.argsort(generator.random((ranks, 6, 7)))[..., :3].astype(np.int32)
    weights = np.ones((ranks, 6, 3), np.float32)

    def main(group):
        def on_device(values):
            tensor = group.empty(values.shape, "f32", like="tensor")
            tensor.copy_from(values)
            return tensor

        ep = group.load(plan, transport="messages")
        recv = ep.dispatch(x[group.rank], idx[group.rank], weights[group.rank])
        handle = recv.handle
        expect(isinstance(recv.x, Tensor), type(recv.x))
        expect(type(handle.peer_rows) is np.ndarray, type(handle.peer_rows))
        expect(handle.peer_blocks.__dlpack_device__() == (2, group.rank))
        y, out = on_device(recv.x.numpy()), on_device(np.zeros((6, 8), np.float32))
        expected = ep.combine(y, handle).numpy()
        driver = Driver()
        driver.use(group.rank)
        stream = driver.stream()
        ep.combine(y, handle, out=out, stream=stream.value)
        group.synchronize(stream.value)
        expect(np.array_equal(out.numpy(), expected), out.numpy(), expected)
        driver.begin_capture(stream)
        ep.combine(y, handle, out=out, stream=stream.value)
        graph = driver.end_capture(stream)
        y.copy_from(2 * recv.x.numpy())
        driver.launch_graph(graph, stream)
        group.synchronize(stream.value)
        expect(np.array_equal(out.numpy(), 2 * expected), out.numpy(), expected)
        driver.destroy_graph(graph)

    run_local(ranks, main, backend="cuda")


if __name__ == "__main__":
    try:
        globals()[sys.argv[1]]()
    except BaseException as error:
        print(f"rank {os.environ.get('RANK')}: {type(error).__name__}: {error}", flush=True)
        os._exit(1)
    print("done")
