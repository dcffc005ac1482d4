"""How ranks find each other: threads, launchers, MPI, torch, any all-gather."""

import contextlib
import importlib.util
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest

from moe_mlir.runtime import Code, Group, MoEError, gather, run_local

F32 = np.float32


def rotated(group, by_hand) -> list[float]:
    """What the rank before this one has: its number, four times."""
    loaded = group.load(by_hand / f"exchange{group.size}.so")
    return loaded["rotate"](np.full((1, 4), group.rank, F32))[0].tolist()


# Threads


def test_results_in_rank_order(by_hand):
    assert run_local(4, rotated, by_hand) == [[(r - 1) % 4] * 4 for r in range(4)]
    assert run_local(1, lambda group, a, b: (group.size, a, b), 2, 3) == [(1, 2, 3)]


def test_groups_of_threads_by_hand(by_hand):
    groups = Group.local(2)
    assert [(g.rank, g.size, g.device, g.target) for g in groups] == [
        (0, 2, "cpu", "host"),
        (1, 2, "cpu", "host"),
    ]
    results = [None, None]

    def run(rank):
        results[rank] = rotated(groups[rank], by_hand)

    threads = [threading.Thread(target=run, args=(r,)) for r in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1.0] * 4, [0.0] * 4]
    for group in groups:
        group.close()


def test_error_of_one_rank_ends_the_others(by_hand):
    begun = time.monotonic()

    def main(group):
        entry = group.load(by_hand / "exchange3.so")["rotate"]
        entry(np.zeros((1, 4), F32))
        if group.rank == 1:
            raise ValueError("no such expert")
        for _ in range(1000):
            entry(np.zeros((1, 4), F32))

    with pytest.raises(ValueError, match="no such expert") as error:
        run_local(3, main, timeout=30)
    assert time.monotonic() - begun < 20
    first, *others = error.value.__notes__
    assert first == "raised by rank 1 in run_local"
    for rank, note in zip((0, 2), others, strict=True):
        assert note.startswith(f"rank {rank} then raised MoEError: rank {rank}: ")
        assert "rank 1: ValueError: no such expert" in note


def test_several_errors_of_their_own():
    def main(group):
        raise KeyError(group.rank)

    with pytest.raises(KeyError) as error:
        run_local(3, main)
    assert error.value.args == (0,)
    assert error.value.__notes__ == [
        "raised by rank 0 in run_local",
        "rank 1 then raised KeyError: 1",
        "rank 2 then raised KeyError: 2",
    ]


def test_interruption_ends_the_ranks(by_hand):
    """A signal's exception in the main thread does not wait for their time-out."""
    begun = time.monotonic()

    def main(group):
        if group.rank == 0:
            os.kill(os.getpid(), signal.SIGINT)
            # Until the main thread has told the group.
            deadline = time.monotonic() + 30
            while group.failed_rank is None and time.monotonic() < deadline:
                time.sleep(0.01)
        rotated(group, by_hand)

    # A test that runs in the background may have inherited that it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_local(2, main, timeout=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 25
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rank ")]


def test_a_rank_that_leaves_early(by_hand):
    def main(group):
        if group.rank == 1:
            return None
        with pytest.raises(MoEError) as error:
            rotated(group, by_hand)
        return error.value

    error = run_local(2, main, timeout=10)[0]
    assert error.code == Code.PEER_FAILED
    assert "rank 1 has left the group" in error.message
    assert error.peer == 1


def test_an_exception_in_a_group_tells_the_others(by_hand):
    groups = Group.local(2, timeout=20)

    def other():
        with pytest.raises(MoEError) as error:
            rotated(groups[1], by_hand)
        errors.append(error.value)

    errors: list[MoEError] = []
    thread = threading.Thread(target=other)
    thread.start()
    with contextlib.suppress(ZeroDivisionError), groups[0]:
        _ = 1 / 0
    thread.join()
    groups[1].close()
    assert errors[0].code == Code.PEER_FAILED
    assert "rank 0: ZeroDivisionError: division by zero" in errors[0].message
    assert errors[0].origin == 0


def test_time_outs_and_check(by_hand):
    def main(group):
        rotated(group, by_hand)
        group.check()
        group.synchronize()
        phases = {(t.op, t.phase): t for t in group.timings()}
        timing = phases["test.rotate", "rotate"]
        assert timing.calls == 1
        assert 0 <= timing.seconds < 60
        assert timing.location == "exchange.c:3:3"
        group.clear_timings()
        return sum(t.calls for t in group.timings())

    assert run_local(2, main) == [0, 0]


# Artifacts from objects


class Plan:
    """As Exchange: built for a number of ranks."""

    def __init__(self, folder):
        self.folder = folder
        self.built = []

    def build(self, ranks, target, *, variant=""):
        self.built.append((ranks, target, variant))
        data = (self.folder / f"exchange{ranks}{variant}.so").read_bytes()
        return types.SimpleNamespace(data=data)


class BoundPlan(Plan):
    def bind(self, loaded):
        return ("bound", sorted(loaded))


def test_what_can_be_loaded(by_hand):
    path = by_hand / "exchange2.so"
    names = ["gather", "rotate", "rotate_times", "twice"]
    plan, bound = Plan(by_hand), BoundPlan(by_hand)

    def main(group):
        data = path.read_bytes()
        for source in (path, str(path), data, bytearray(data), memoryview(data)):
            assert sorted(group.load(source)) == names
        assert sorted(group.load(types.SimpleNamespace(data=data), name="mine.so")) == names
        loaded = group.load(plan)
        assert len(loaded) == 4
        assert loaded.manifest["ranks"] == 2
        group.load(plan)
        return group.load(bound)

    assert run_local(2, main) == [("bound", names)] * 2
    # Once for all ranks of the process.
    assert plan.built == [(2, "host", "")]


def test_options_of_what_is_built(by_hand):
    plan = Plan(by_hand)
    run_local(4, lambda group: group.load(plan, variant="-other") and None)
    assert plan.built == [(4, "host", "-other")]


# Processes

RANK = """
import sys
import numpy as np
from moe_mlir.runtime import Group, MoEError
try:
    with Group.from_env(timeout=float(sys.argv[2])) as group:
        rotate = group.load(f"{sys.argv[1]}/exchange{group.size}.so")["rotate"]
        value = rotate(np.full((1, 4), group.rank, np.float32))[0, 0]
        sys.stdout.write(f"{group.rank} {value}\\n")  # at once, since ranks share a terminal
    with Group.from_env(timeout=float(sys.argv[2])) as group:  # a second one
        group.empty((4,), "f32")
except MoEError as error:
    print(error.code.name, error.peer, error)
"""


def start(by_hand, variables: dict[str, str], timeout: float = 30) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "SLURM_"))}
    return subprocess.Popen(
        [sys.executable, "-c", RANK, str(by_hand), str(timeout)],
        env=clean | variables,
        stdout=subprocess.PIPE,
        text=True,
    )


LAUNCHERS = {
    "Open MPI": lambda r, n: {"OMPI_COMM_WORLD_RANK": r, "OMPI_COMM_WORLD_SIZE": n},
    "PMI": lambda r, n: {"PMI_RANK": r, "PMI_SIZE": n},
    "Slurm": lambda r, n: {"SLURM_PROCID": r, "SLURM_STEP_NUM_TASKS": n},
    "torchrun": lambda r, n: {"RANK": r, "WORLD_SIZE": n, "TORCHELASTIC_RUN_ID": "x"},
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_of_a_launcher(by_hand, launcher):
    started = [start(by_hand, LAUNCHERS[launcher](str(rank), "3")) for rank in range(3)]
    for rank, process in enumerate(started):
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out == f"{rank} {float((rank - 1) % 3)}\n"


def test_process_that_was_started_alone(by_hand):
    out, _ = start(by_hand, {}).communicate(timeout=60)
    assert out == "0 0.0\n"


def test_process_that_never_comes(by_hand):
    out, _ = start(by_hand, {"PMI_RANK": "1", "PMI_SIZE": "2"}, 0.5).communicate(timeout=60)
    assert out == (
        "TIMEOUT 0 rank 1: rank 0 did not come within 0.5 s; each of the 2 processes of the PMI "
        "job (PMI_RANK) has to make the group on this host\n"
    )


def test_environment_that_contradicts_itself(by_hand):
    out, _ = start(by_hand, {"PMI_RANK": "2", "PMI_SIZE": "2"}).communicate(timeout=60)
    assert out == "INVALID_ARGUMENT None PMI_RANK is 2, but PMI_SIZE is 2\n"


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no mpirun")
def test_mpirun(by_hand):
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"]
    run = subprocess.run(
        [*command, sys.executable, "-c", RANK, str(by_hand), "30"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    # mpirun passes on what ranks write as it comes, also between two words.
    assert sorted("".join(run.stdout.split())) == sorted("01.010.0"), run.stdout


class Pipes:
    """A communicator of forked processes, with the methods of mpi4py's."""

    def __init__(self, rank, size, queues):
        self.rank, self.size, self.queues = rank, size, queues

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.size

    def allgather(self, mine):
        for queue in self.queues:
            queue[self.rank].put(mine)
        return [self.queues[self.rank][r].get(timeout=30) for r in range(self.size)]


def forked(size, body):
    """Results of `body(communicator)` in a process per rank."""
    context = multiprocessing.get_context("fork")
    queues = [[context.Queue() for _ in range(size)] for _ in range(size)]
    results = context.Queue()

    def run(rank):
        try:
            results.put((rank, body(Pipes(rank, size, queues))))
        except BaseException as error:
            results.put((rank, repr(error)))

    processes = [context.Process(target=run, args=(rank,)) for rank in range(size)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(30)
    return [found[rank] for rank in range(size)]


def test_communicator_of_mpi(by_hand):
    def body(communicator):
        with Group.from_mpi(communicator) as group:
            return rotated(group, by_hand)

    assert forked(3, body) == [[2.0] * 4, [0.0] * 4, [1.0] * 4]


def test_all_gather_that_fails():
    calls = []

    def gather(mine, timeout):
        calls.append(timeout)
        if len(calls) == 1:
            return mine * 2
        raise OSError("the network is gone")

    with pytest.raises(MoEError) as error:
        Group.from_allgather(0, 2, gather, timeout=3)
    assert error.value.code == Code.PEER_FAILED
    assert error.value.message.endswith(
        "the all-gather of the program failed: OSError: the network is gone"
    )
    assert set(calls) == {3.0}

    calls.clear()
    with pytest.raises(MoEError) as error:
        Group.from_allgather(0, 2, lambda mine, _: mine)
    assert "bytes; expected" in error.value.message


# torch


class FakeTorch(types.ModuleType):
    """What lending a communicator asks of torch."""

    class cuda:
        @staticmethod
        def device(index):
            return contextlib.nullcontext()

    @staticmethod
    def device(kind, index):
        return (kind, index)


class ProcessGroup:
    """One whose communicator is made by its first collective, as torch does."""

    def __init__(self, has_nccl=True, address=4096):
        self.has_nccl, self.address, self.used = has_nccl, address, False

    def _get_backend(self, device):
        assert device == ("cuda", 1)
        if not self.has_nccl:
            raise RuntimeError("no backend for device type cuda")
        return self

    def _comm_ptr(self):
        return self.address if self.used else 0

    def use(self, process_group, device):
        """Stands for a collective on the GPU."""
        assert (process_group, device) == (self, 1)
        self.used = True

    def gather(self, others):
        def gather(mine, timeout):
            assert timeout == 7
            return mine + others

        return gather


@pytest.mark.parametrize(
    ("process_group", "whose", "other", "lent"),
    [
        (ProcessGroup(), None, b"\1", 4096),
        (ProcessGroup(), None, b"\0", None),  # another rank has none
        (ProcessGroup(has_nccl=False), None, b"\1", None),
        (ProcessGroup(), "own", b"\0", None),
        (ProcessGroup(), "torch", b"\1", 4096),
        (ProcessGroup(address=0), "torch", b"\0", 0),  # which the runtime refuses
    ],
)
def test_communicator_that_torch_lends(monkeypatch, process_group, whose, other, lent):
    monkeypatch.setitem(sys.modules, "torch", FakeTorch("torch"))
    monkeypatch.setattr(gather, "make_nccl", process_group.use)
    every = process_group.gather(other)
    assert gather.lend_nccl(process_group, every, 1, whose, 7) == lent
    assert process_group.used == (whose != "own")


torch_missing = importlib.util.find_spec("torch") is None

TORCH = """
import sys
import torch
import torch.distributed as dist
from moe_mlir.runtime import Group
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=int(sys.argv[3]),
                        world_size=2)
with Group.from_torch() as group:
    rotate = group.load(f"{sys.argv[1]}/exchange2.so")["rotate"]
    print(group.rank, group.device, rotate(torch.full((1, 4), float(group.rank))).tolist())
    group.empty((1 << 22,), torch.float32)  # the heap grows, by the all-gather
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.skipif(torch_missing, reason="torch is not installed")
def test_process_group_of_torch(by_hand, tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TORCH, str(by_hand), str(tmp_path / "store"), str(rank)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank, process in enumerate(started):
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert out == f"{rank} cpu [[{1.0 - rank}, {1.0 - rank}, {1.0 - rank}, {1.0 - rank}]]\n"
