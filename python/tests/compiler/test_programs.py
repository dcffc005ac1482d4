"""What importing brings, and the programs that the library holds."""

import signal
import subprocess
import sys
import time

import pytest
from sample_modules import EXCHANGE

from moe_mlir import compiler


def python(script: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_importing_loads_neither_runtime_nor_frameworks():
    names = set(python("import moe_mlir.compiler, sys; print(*sys.modules)").stdout.split())
    assert "moe_mlir._compiler" in names
    assert not names & {"moe_mlir._runtime", "numpy", "torch", "jax"}


def test_version_names_the_package_and_llvm():
    import moe_mlir

    assert compiler.version().startswith(f"moe-mlir {moe_mlir.__version__}, LLVM 22.")
    assert len(compiler.build_id()) == 40


def test_signals_are_as_before():
    """Loading and compiling leave the handlers of the interpreter in place."""
    script = """
import faulthandler, signal
from moe_mlir import compiler
faulthandler.enable()
compiler.compile("func.func @f() { return }", cache=False)
import ctypes
ctypes.string_at(0)
"""
    child = python(script)
    assert child.returncode == -11
    assert "Fatal Python error: Segmentation fault" in child.stderr


MAIN = "import sys; from moe_mlir.compiler import tools; sys.exit(tools.{}())"


def test_moe_compile(tmp_path):
    file = tmp_path / "exchange.mlir"
    file.write_text(EXCHANGE)
    out = tmp_path / "out.so"
    child = python(MAIN.format("moe_compile"), str(file), "-o", str(out), "--report")
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout.startswith("op ")
    assert out.read_bytes() == compiler.compile(file).data
    child = python(MAIN.format("moe_compile"), str(file), "--blocks=3", "-o", str(out))
    assert child.returncode == 1
    assert child.stderr == (
        "moe-compile: error: option 'blocks' is for target cuda ('host' given)\n"
    )


def test_moe_opt():
    child = python(MAIN.format("moe_opt"), "--moe-plan=target=cuda", stdin=EXCHANGE)
    assert (child.returncode, child.stderr) == (0, "")
    assert "#moe.kernel" in child.stdout
    assert python(MAIN.format("moe_opt"), "--no-such-pass").returncode == 1


def test_moe_reduce():
    child = python(MAIN.format("moe_reduce"), "--help")
    assert child.returncode == 0 and "reduction" in child.stdout


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    with open(f"/proc/{pid}/status") as status:
        masks = dict(line.split(":\t") for line in status if line.startswith("Sig"))
    return bool(int(masks["SigCgt"], 16) & 1 << (number - 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGPIPE])
def test_signals_end_programs(number):
    """They do so although Python is around, which has other ideas of both."""
    child = subprocess.Popen(
        [sys.executable, "-c", MAIN.format("moe_opt")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin and child.stdout and child.stderr
    with child.stdin, child.stdout, child.stderr:
        # LLVM handles this one from the start of its mains on, and Python does not.
        deadline = time.monotonic() + 60
        while not catches(child.pid, signal.SIGHUP):
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        if number == signal.SIGPIPE:
            child.stdout.close()
            child.stdin.write(EXCHANGE.encode())
            child.stdin.close()
        else:
            child.send_signal(number)
        assert child.wait(60) == -number


def test_another_mlir_in_the_process():
    """jaxlib brings an MLIR of its own; neither disturbs the other, whoever comes first."""
    pytest.importorskip("jaxlib.mlir", reason="there is no jaxlib")
    imports = ["from jaxlib.mlir import ir", "from moe_mlir import compiler"]
    for order in (imports, imports[::-1]):
        script = "\n".join(
            [
                *order,
                "for _ in range(2):",
                "    with ir.Context():",
                "        print(ir.Module.parse('module {}'))",
                "    print(compiler.parse('module {}'))",
                "assert compiler.compile('func.func @f() {return}', cache=False).data",
            ]
        )
        child = python(script)
        assert (child.returncode, child.stderr) == (0, "")
        assert child.stdout.split() == ["module", "{", "}"] * 4
