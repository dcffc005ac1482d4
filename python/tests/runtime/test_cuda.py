"""The cuda backend, on the driver that interprets PTX on the CPU."""

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import compile_module
from modules import CUDA_SCENES, EXCHANGE, TABLES_SCENES


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("cuda")
    compile_module(EXCHANGE, made / "exchange.so", "--target=cuda", "--blocks=2", "--threads=64")
    return made


def run_scene(script, *arguments):
    run = subprocess.run(
        [sys.executable, pathlib.Path(__file__).with_name(script), *arguments],
        env=os.environ | {"LD_LIBRARY_PATH": os.environ["MOE_STANDIN_DRIVER_DIR"]},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if run.stdout.startswith("skipped: "):
        pytest.skip(run.stdout.removeprefix("skipped: ").strip())
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr


@pytest.mark.parametrize("scene", CUDA_SCENES)
def test_scene(folder, scene):
    run_scene("cuda_scenes.py", scene, folder)


@pytest.mark.parametrize("scene", TABLES_SCENES)
def test_tables(scene):
    run_scene("tables_scenes.py", scene)
