"""What test_mpi.py runs, each in processes of mpirun with mpi4py.

``python mpi_scenes.py SCENE``. MOE_TEST_ARTIFACT_DIR has the artifacts that are written
by hand.
"""

import os
import pathlib
import sys
import time

import numpy as np
from mpi4py import MPI

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hosts import exchanges, expect, refused, refuses_shared_memory

from moe_mlir.runtime import Code, Group

F32 = np.float32
WORLD = MPI.COMM_WORLD
FOLDER = pathlib.Path(os.environ["MOE_TEST_ARTIFACT_DIR"])


def rotates(group: Group) -> None:
    """Each rank gets the row of the one before it."""
    rotate = group.load(FOLDER / f"exchange{group.size}.so")["rotate"]
    seen = rotate(np.full((1, 4), group.rank, F32))[0].tolist()
    expect(seen == [(group.rank - 1) % group.size] * 4, seen)


def one_host():
    """Ranks are those of the communicator, which is copied."""
    with Group.from_mpi(WORLD) as group:
        expect((group.rank, group.size) == (WORLD.rank, 4), group)
        expect(list(group.hosts.values()) == [(0, 1, 2, 3)], group.hosts)
        rotates(group)
        group.free(group.empty((1 << 16,), "f32"))
        exchanges(group, transport="messages")
        # The program's own messages are none of the group's.
        expect(WORLD.allreduce(WORLD.rank) == 6)
    half = WORLD.Split(color=WORLD.rank % 2, key=-WORLD.rank)
    with Group.from_mpi(half) as group:
        half.Free()
        expect((group.rank, group.size) == (1 - WORLD.rank // 2, 2), group)
        rotates(group)
    with Group.from_mpi(MPI.COMM_SELF) as group:
        expect((group.rank, group.size) == (0, 1), group)


def bad_communicators():
    error = refused(Group.from_mpi, MPI.COMM_NULL)
    expect(error.code == Code.INVALID_ARGUMENT, error)
    expect("the communicator is MPI_COMM_NULL" in error.message, error)
    half = WORLD.Split(color=WORLD.rank % 2)
    joined = half.Create_intercomm(0, WORLD, 1 - WORLD.rank % 2)
    error = refused(Group.from_mpi, joined)
    expect("it is an inter-communicator" in error.message, error)
    error = refused(Group.from_mpi, WORLD, timeout=-1)
    expect("timeout: expected more than 0" in error.message, error)
    joined.Free()
    half.Free()


def two_hosts():
    with Group.from_mpi(WORLD) as group:
        expect(list(group.hosts) == ["moe-a", "moe-b"], group.hosts)
        expect(sorted(sum(group.hosts.values(), ())) == [0, 1, 2, 3], group.hosts)
        refuses_shared_memory(group, "--transport=messages")
        exchanges(group)
        expect(WORLD.allreduce(1) == 4)


def rank_that_fails():
    """The others hear of it across hosts, with its words."""
    begun = None
    try:
        with Group.from_mpi(WORLD, timeout=30) as group:
            exchanges(group)
            # All have ended it, so the next one is what fails.
            WORLD.Barrier()
            begun = time.monotonic()
            if group.rank == 3:
                raise KeyError("no such expert")
            error = refused(exchanges, group)
            expect(error.code == Code.PEER_FAILED, error)
            expect("rank 3: KeyError: 'no such expert'" in error.message, error)
            expect(error.origin == 3, error.origin)
    except KeyError:
        expect(WORLD.rank == 3)
    expect(time.monotonic() - begun < 25)


def rank_that_never_comes():
    """MPI itself would wait for ever."""
    if WORLD.rank != 3:
        begun = time.monotonic()
        error = refused(Group.from_mpi, WORLD, timeout=1)
        expect(error.code == Code.TIMEOUT, error)
        expect("not all of the 4 ranks of the communicator made the group within 1 s" in str(error))
        expect(time.monotonic() - begun < 20)
    WORLD.Barrier()


if __name__ == "__main__":
    # Of one machine two hosts.
    if sys.argv[-1] == "apart":
        os.environ["MOE_HOSTID"] = ("moe-a", "moe-b")[WORLD.rank % 2]
    try:
        globals()[sys.argv[1]]()
    except BaseException as error:
        print(f"rank {WORLD.rank}: {type(error).__name__}: {error}", flush=True)
        # The others end with it, and do not wait in MPI_Finalize.
        WORLD.Abort(1)
