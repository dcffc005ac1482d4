"""Groups of mpi4py's communicators, on one host and on two."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
SCENES = pathlib.Path(__file__).with_name("mpi_scenes.py")
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "4"]

sys.path.insert(0, str(TESTS))
sys.path.insert(0, str(TESTS.parents[1] / "tools" / "moe-run" / "tests"))

from hosts import PLAN  # noqa: E402
from two_hosts import TwoHosts, why_not  # noqa: E402

needs_mpi = pytest.mark.skipif(
    shutil.which("mpirun") is None or importlib.util.find_spec("mpi4py") is None,
    reason="there is no mpirun, or no mpi4py",
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """All ranks find the plan compiled."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOE_MLIR_CACHE_DIR", str(folder))
        for transport in ("direct", "messages"):
            PLAN.build(4, transport=transport)
        yield folder


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_mpi
@pytest.mark.parametrize("scene", ["one_host", "bad_communicators", "rank_that_never_comes"])
def test_one_host(scene):
    run([*MPIRUN, sys.executable, SCENES, scene])


@needs_mpi
@pytest.mark.parametrize("scene", ["two_hosts", "rank_that_fails"])
def test_two_hosts_of_one_machine(scene):
    run([*MPIRUN, sys.executable, SCENES, scene, "apart"])


@needs_mpi
def test_two_namespaces(tmp_path):
    if reason := why_not(as_user=False):
        pytest.skip(reason)
    passed = ("PYTHONPATH", "MOE_TEST_ARTIFACT_DIR", "MOE_MLIR_CACHE_DIR")
    options = [word for name in passed for word in ("-x", name)]
    with TwoHosts(tmp_path) as hosts:
        run([*hosts.mpirun(2, 2, options=tuple(options)), sys.executable, str(SCENES), "two_hosts"])
