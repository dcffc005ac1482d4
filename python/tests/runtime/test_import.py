"""That importing the package is cheap, and says what is missing."""

import subprocess
import sys

import pytest

import moe_mlir


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has after `statement`."""
    script = f"{statement}\nimport sys; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    return set(run.stdout.split())


def test_package_loads_no_part_of_itself():
    names = loaded_by("import moe_mlir")
    assert {n for n in names if n.startswith("moe_mlir")} == {"moe_mlir", "moe_mlir._version"}
    assert not names & {"numpy", "torch", "ctypes"}


def test_runtime_loads_neither_compiler_nor_frameworks():
    names = loaded_by("import moe_mlir.runtime")
    assert "moe_mlir._runtime" in names
    assert not names & {"moe_mlir._compiler", "numpy", "torch", "jax", "cupy", "ml_dtypes"}


def test_version_is_that_of_the_runtime():
    assert moe_mlir.__version__ == moe_mlir.runtime.version()


def test_unknown_name_lists_the_known():
    with pytest.raises(AttributeError) as error:
        moe_mlir.grop  # noqa: B018
    assert str(error.value) == (
        "module 'moe_mlir' has no attribute 'grop'; it has " + ", ".join(moe_mlir.__all__)
    )
