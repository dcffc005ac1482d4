"""compile(): what comes out, what is refused, crashes, threads, processes of their own."""

import enum
import json
import os
import pickle
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from sample_modules import BODILESS, CRASHING, EXCHANGE

from moe_mlir import compiler
from moe_mlir.compiler import CompileError, CompilerCrash, OptionError, _isolated


def moe_compile(*arguments: str) -> str:
    """What the program prints; it compiles on its own, with another copy of the compiler."""
    program = Path(os.environ["MOE_BIN_DIR"]) / "moe-compile"
    return subprocess.run(
        [program, *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_artifact_is_that_of_the_program(tmp_path):
    file = tmp_path / "exchange.mlir"
    file.write_text(EXCHANGE)
    for target in ("host", "cuda:sm_90"):
        report = moe_compile(
            str(file), "--target", target, "-o", str(tmp_path / "out.so"), "--report=json"
        )
        artifact = compiler.compile(file, target)
        assert artifact.data == (tmp_path / "out.so").read_bytes()
        assert artifact.report == json.loads(report)


def test_forms_of_a_module_are_one_artifact(module, tmp_path):
    file = tmp_path / "exchange.mlir"
    file.write_text(EXCHANGE)
    wanted = compiler.compile(EXCHANGE, filename="exchange.mlir").data
    text = module.print(debug_info=True)
    assert compiler.compile(module).data == wanted
    assert compiler.compile(module.bytecode()).data == wanted
    assert compiler.compile(text).data == wanted
    assert compiler.compile(file, filename="exchange.mlir").data == wanted
    assert text == module.print(debug_info=True)


def test_host_artifact(module):
    artifact = compiler.compile(module)
    assert artifact.ptx is None
    assert artifact.diagnostics == []
    assert artifact.report["ranks"] == 2
    assert artifact.report["ops"][0]["op"] == "moe.alltoallv"
    assert artifact.manifest["target"] == "host"
    assert artifact.manifest["entries"][0]["name"] == "exchange"
    assert artifact.manifest["sites"][0]["location"] == "exchange.mlir:4:15"
    assert repr(artifact) == f"Artifact({len(artifact.data)} bytes)"


def test_cuda_artifact(module):
    artifact = compiler.compile(module, "cuda:sm_90", blocks=3)
    assert artifact.ptx is not None
    assert ".target sm_90" in artifact.ptx and artifact.ptx.encode() in artifact.data
    assert artifact.report["ops"][0]["kernel"]["blocks"] == 3
    assert artifact.manifest["gpu"]["chip"] == "sm_90"
    assert any("alltoallv moves rows by stores" in r.message for r in artifact.remarks)
    assert {str(r.location) for r in artifact.remarks} == {"exchange.mlir:4:15"}
    assert {r.op for r in artifact.remarks} == {"moe.alltoallv"}


def test_stages_and_reports(module):
    artifact = compiler.compile(module, emit="symm", report="none", remarks="no such")
    assert b"symm.put" in artifact.data
    assert (artifact.report, artifact.remarks) == ({}, [])
    with pytest.raises(ValueError, match="expected an artifact: a shared object with the symbol"):
        artifact.manifest  # noqa: B018


def test_manifest_expects_an_artifact():
    for data in (b"", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + bytes(60), b"\x7fELF\x02\x01x" * 99):
        artifact = compiler.Artifact(data, None, [], [])
        with pytest.raises(ValueError, match="expected an artifact"):
            artifact.manifest  # noqa: B018


def test_save_replaces_files_as_a_whole(module, tmp_path):
    artifact = compiler.compile(module)
    file, link = tmp_path / "a.so", tmp_path / "link.so"
    link.symlink_to(file)
    file.write_text("old")
    assert artifact.save(link) == link
    assert link.is_symlink() and file.read_bytes() == artifact.data
    assert sorted(path.name for path in tmp_path.glob("*.so")) == ["a.so", "link.so"]
    with pytest.raises(FileNotFoundError):
        artifact.save(tmp_path / "none" / "a.so")


def test_save_leaves_alone_what_is_no_file(tmp_path):
    """A device that is replaced is gone for the whole machine."""
    artifact = compiler.Artifact(b"x", None, [], [])
    pipe, link, folder = tmp_path / "pipe", tmp_path / "link", tmp_path / "folder"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (pipe, link, tmp_path / "socket"):
            with pytest.raises(OSError) as error:
                artifact.save(path)
            assert str(error.value) == (
                "[Errno 22] expected a regular file, found a device, a pipe or a socket: "
                f"'{path.resolve()}'"
            )
        with pytest.raises(IsADirectoryError):
            artifact.save(folder)
        assert pipe.is_fifo() and link.is_symlink() and (tmp_path / "socket").is_socket()
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "pipe", "socket"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"target": "tpu"},
            "unknown target 'tpu'; expected host, cuda, nccl, cuda:<chip> or nccl:<chip>",
        ),
        ({"target": None}, "option 'target' expects a str, got NoneType"),
        ({"isolate": True, "timeout": float("nan")}, "'timeout' expects seconds, got nan"),
        ({"isolate": True, "timeout": -1}, "'timeout' expects seconds, got -1"),
        ({"target": "cuda:sm_1"}, "unknown chip 'sm_1'; expected one of: sm_80,"),
        ({"blocks": 3}, "option 'blocks' is for target cuda ('host' given)"),
        ({"target": "cuda", "blocks": "many"}, "option 'blocks' expects an integer, got 'many'"),
        ({"opt_level": 9}, "unknown optimization level 9; expected 0 to 3"),
        ({"optlevel": 3}, "unknown option 'optlevel'; expected one of: target, ptx-version,"),
        ({"opt_level": True}, "option 'opt_level' expects a str or an int, got bool"),
        ({"report": "table"}, "option 'report' expects json or none: the report is an object"),
        ({"remarks": "("}, "option 'remarks' expects a regular expression ('(': "),
        ({"cpu": "x86\0-64"}, "option 'cpu' expects text without zero bytes"),
    ],
)
def test_wrong_options(module, options, message):
    with pytest.raises(OptionError) as error:
        compiler.compile(module, **options)
    assert str(error.value).startswith("error: " + message)
    assert isinstance(error.value, CompileError) and isinstance(error.value, ValueError)


def test_options_are_described():
    options = compiler.options()
    assert options["blocks"] == "Blocks per kernel, at most (target cuda; default: 0, chosen)"
    assert "kernels" not in options


def test_enums_are_what_they_stand_for(module):
    class Choice(str, enum.Enum):  # noqa: UP042, the str() of a StrEnum is right anyway
        TARGET = "cuda"

    class Blocks(int, enum.Enum):
        FEW = 3

    artifact = compiler.compile(module, Choice.TARGET, blocks=Blocks.FEW)
    assert artifact == compiler.compile(module, "cuda", blocks=3)


def test_names_of_files_may_be_paths_of_any_bytes(tmp_path):
    named = compiler.compile(EXCHANGE, filename=Path("a") / "b.mlir")
    assert named.manifest["sites"][0]["location"] == "b.mlir:4:15"
    file = tmp_path / os.fsdecode(b"\xff.mlir")
    file.write_text(EXCHANGE)
    artifact = compiler.compile(file)
    assert artifact.manifest["sites"][0]["location"] == "?.mlir:4:15"
    with pytest.raises(TypeError):
        compiler.compile(EXCHANGE, filename=3)  # type: ignore[arg-type]


def test_option_none_is_not_given(module):
    assert compiler.compile(module, blocks=None).data == compiler.compile(module).data


def test_wrong_modules():
    with pytest.raises(CompileError) as error:
        compiler.compile(BODILESS, filename="m.mlir")
    (diagnostic,) = error.value.diagnostics
    assert (diagnostic.severity, diagnostic.op) == ("error", "func.call")
    assert diagnostic.location == compiler.SourceLocation("m.mlir", 3, 3)
    assert str(error.value) == (
        "m.mlir:3:3: error: 'func.call' op expects 'g' to have a body\n"
        "m.mlir:1:1: note: declared here"
    )
    assert not isinstance(error.value, (OptionError, CompilerCrash))
    again = pickle.loads(pickle.dumps(error.value))
    assert again.diagnostics == error.value.diagnostics
    with pytest.raises(TypeError) as wrong:
        compiler.compile(7)  # type: ignore[arg-type]
    assert str(wrong.value) == "'module' expects a Module, text, bytecode or a path, got int"
    with pytest.raises(FileNotFoundError):
        compiler.compile(Path("/none.mlir"))


def test_unknown_ops():
    with pytest.raises(CompileError, match="unregistered dialect"):
        compiler.compile('"newer.op"() : () -> ()')
    with pytest.raises(CompileError, match=r"'moe\.newer'"):
        compiler.compile("%0 = moe.newer")


def test_bytecode_of_a_newer_mlir(module):
    data = bytearray(module.bytecode())
    data[4] = 0x7F
    with pytest.raises(CompileError) as error:
        compiler.compile(bytes(data))
    assert error.value.diagnostics[0].message == (
        "bytecode version 63 is newer than the current version 6"
    )


def test_crashes_are_survived(module):
    for _ in range(2):
        with pytest.raises(CompilerCrash) as error:
            compiler.compile(CRASHING)
        assert str(error.value) == "error: the compiler crashed: SIGSEGV (Segmentation fault)"
        assert compiler.compile(module, cache=False).data


def test_threads_compile_at_once(module):
    wanted = {t: compiler.compile(module, t).data for t in ("host", "cuda")}
    failures = []

    def work(number: int) -> None:
        try:
            for _ in range(3):
                for target, data in wanted.items():
                    assert (
                        compiler.compile(
                            EXCHANGE, target, filename="exchange.mlir", cache=False
                        ).data
                        == data
                    )
                if number == 0:
                    with pytest.raises(CompilerCrash):
                        compiler.compile(CRASHING)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert failures == []


def test_other_threads_run_meanwhile():
    """While one thread compiles, a second one makes progress in Python."""
    entries = "\n".join(
        f"func.func @f{i}(%x: tensor<4xf32>) -> tensor<4xf32> {{\n"
        "  %y = math.exp %x : tensor<4xf32>\n  return %y : tensor<4xf32>\n}"
        for i in range(20)
    )
    done = threading.Event()
    steps = 0

    def count() -> None:
        nonlocal steps
        while not done.is_set():
            steps += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        before = steps
        compiler.compile(entries, cache=False)
        after = steps
    finally:
        done.set()
        thread.join(60)
    # It would be one or none if the interpreter's lock were held.
    assert after - before > 5


def test_isolated_compilation_is_the_same(module):
    for target in ("host", "cuda"):
        artifact = compiler.compile(module, target, cache=False, isolate=True)
        assert artifact == compiler.compile(module, target, cache=False)
    with pytest.raises(CompileError) as error:
        compiler.compile(BODILESS, filename="m.mlir", isolate=True)
    assert error.value.diagnostics[0].op == "func.call"
    with pytest.raises(CompilerCrash) as crash:
        compiler.compile(CRASHING, isolate=True)
    assert str(crash.value) == "error: the compiler crashed: SIGSEGV (Segmentation fault)"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", "the compiler's process was ended by SIGKILL"),
        ("raise SystemExit(3)", "the compiler's process ended with status 3"),
    ],
)
def test_isolated_process_that_dies(module, monkeypatch, program, message):
    monkeypatch.setattr(_isolated, "_PROGRAM", program)
    with pytest.raises(CompilerCrash) as error:
        compiler.compile(module, isolate=True)
    assert str(error.value) == f"error: {message}"


def test_isolated_process_that_hangs(module, monkeypatch):
    monkeypatch.setattr(_isolated, "_PROGRAM", "import time; time.sleep(600)")
    with pytest.raises(CompileError) as error:
        compiler.compile(module, isolate=True, timeout=0.5)
    assert str(error.value) == "error: the compiler's process has been ended after 0.5 s"


def test_isolated_compilation_may_take_for_ever(module):
    for seconds in (float("inf"), 1e12):
        artifact = compiler.compile(module, isolate=True, timeout=seconds, cache=False)
        assert artifact.data


def test_isolated_process_runs_nothing_of_the_working_directory(module, tmp_path, monkeypatch):
    for name in ("json", "moe_mlir", "struct"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert compiler.compile(module, isolate=True, cache=False).data
