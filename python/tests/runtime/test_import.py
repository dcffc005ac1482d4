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


SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def use():
    import moe_mlir as moe
    moe.run_local(2, lambda group: group.empty(4, "f32"))
    moe.compiler.parse("func.func @f() { return }")

if "before" in sys.argv:
    use()
# One with a lock of its own is refused by Python itself, from 3.12 on.
if sys.version_info >= (3, 13):
    other = interpreters.create("legacy")
else:
    other = interpreters.create(isolated=False)
interpreters.run_string(other, f'''
import sys
sys.path[:] = {sys.path}
for name in "_runtime", "_compiler":
    for attempt in range(2):
        try:
            __import__("moe_mlir." + name)
        except ImportError as error:
            print(error)
''')
sys.stdout.flush()
interpreters.destroy(other)
use()
print("used")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_subinterpreters_are_refused(when):
    """Threads of the runtime know the main interpreter alone, and would wait forever."""
    run = subprocess.run(
        [sys.executable, "-c", SUBINTERPRETER, when], capture_output=True, text=True, timeout=120
    )
    if "No module named '_xxsubinterpreters'" in run.stderr:
        pytest.skip("this Python has no sub-interpreters")
    expected = [
        f"moe_mlir.{name}: expected the main interpreter of the process, got a sub-interpreter, "
        "which cannot have it"
        for name in ("_runtime", "_runtime", "_compiler", "_compiler")
    ]
    assert run.stdout.splitlines() == [*expected, "used"], run.stderr
    assert (run.stderr, run.returncode) == ("", 0)
