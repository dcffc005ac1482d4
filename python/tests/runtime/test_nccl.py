"""Groups whose ranks exchange messages by NCCL, or would have to by MPI."""

import os
import pathlib
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
SCENES = pathlib.Path(__file__).with_name("nccl_scenes.py")
DRIVER = pathlib.Path(os.environ.get("MOE_STANDIN_DRIVER_DIR", ""))

sys.path.insert(0, str(TESTS))

from hosts import PLAN  # noqa: E402


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """All ranks find the plan compiled, and the stand-ins."""
    folder = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOE_MLIR_CACHE_DIR", folder)
        for target in ("host", "cuda:sm_90"):
            for transport in ("direct", "messages"):
                PLAN.build(4, target, transport=transport)
    libraries = f"{DRIVER}:{DRIVER.parent / 'nccl'}"
    return os.environ | {"MOE_MLIR_CACHE_DIR": folder, "LD_LIBRARY_PATH": libraries}


def run(environment, scene, ranks=()):
    """Run a scene in a process, or in one for each rank of a job."""
    job = [
        {"RANK": str(r), "WORLD_SIZE": str(len(ranks)), "TORCHELASTIC_RUN_ID": "x"} for r in ranks
    ]
    started = [
        subprocess.Popen(
            [sys.executable, SCENES, scene], env=environment | variables, stdout=subprocess.PIPE,
            text=True,
        )
        for variables in job or [{}]
    ]  # fmt: skip
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert outputs == ["done\n"] * len(started), "".join(outputs)


@pytest.mark.parametrize("scene", ["two_hosts", "two_hosts_without_mpi"])
def test_job_of_two_hosts(environment, scene):
    run(environment, scene, range(4))


def test_combine_of_kept_blocks(environment):
    run(environment | {"MOE_STANDIN_GPUS": "3"}, "kept_blocks")


def test_communicator_that_a_program_lends(environment):
    run(environment, "lent_communicator")
