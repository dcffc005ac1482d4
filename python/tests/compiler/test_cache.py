"""The cache on disk: keys, bounds, other processes, and folders that do not work."""

import hashlib
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from sample_modules import EXCHANGE

from moe_mlir import compiler
from moe_mlir.compiler import Artifact, Cache, CacheWarning, _files
from moe_mlir.compiler.cache import _MAGIC, default_folder


@pytest.fixture(autouse=True)
def warnings_are_errors():
    """Let the cache warn only where a test expects it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CacheWarning)
        yield


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.moe"))


def test_second_compilation_is_a_look_at_the_disk(module, cache_folder):
    first = compiler.compile(module, "cuda")
    second = compiler.compile(module, "cuda")
    assert not first.is_cached and second.is_cached
    assert first == second and first.report == second.report
    assert repr(second).endswith("bytes, cached)")
    (entry,) = entries(cache_folder)
    assert os.listdir(cache_folder) == [entry.name]
    assert cache_folder.stat().st_mode & 0o777 == 0o700
    assert entry.stat().st_mode & 0o777 == 0o600


def test_what_the_artifact_depends_on_is_the_key(module):
    compiler.compile(module)
    moved = compiler.parse("\n" + EXCHANGE, filename="exchange.mlir")
    for other in (
        compiler.compile(module, opt_level=2),
        compiler.compile(module, "cuda"),
        compiler.compile(module, "cuda", blocks=2),
        compiler.compile(moved),  # Messages of the artifact name the places.
        compiler.compile(EXCHANGE),
        compiler.compile(EXCHANGE, filename="b.mlir"),
        compiler.compile(module, report="none"),
        compiler.compile(module, remarks="none"),
    ):
        assert not other.is_cached
    for same in (
        compiler.compile(module, "host", opt_level="3"),
        compiler.compile(module, "cuda:sm_90", ptx_version=80, blocks=2),
        compiler.compile(module, cpu="x86-64-v3"),
        compiler.compile(module.clone()),
    ):
        assert same.is_cached


def test_switched_off(module, cache_folder, monkeypatch):
    compiler.compile(module, cache=False)
    monkeypatch.setenv("MOE_MLIR_CACHE_DIR", "")
    assert default_folder() is None
    compiler.compile(module)
    assert not cache_folder.exists()
    assert not compiler.compile(module).is_cached


def test_folder_of_the_environment(module, tmp_path, monkeypatch):
    monkeypatch.delenv("MOE_MLIR_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "moe-mlir"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "moe-mlir"
    compiler.compile(module)
    assert compiler.compile(module).is_cached


def test_a_cache_of_the_caller(module, tmp_path, cache_folder):
    cache = Cache(tmp_path / "mine")
    compiler.compile(module, cache=cache)
    assert compiler.compile(module, cache=cache).is_cached
    assert not cache_folder.exists()


def test_a_folder_of_the_caller(module, tmp_path, cache_folder, monkeypatch):
    mine = tmp_path / "mine"
    compiler.compile(module, cache=mine)
    assert compiler.compile(module, cache=mine).is_cached
    assert entries(mine) and not cache_folder.exists()
    monkeypatch.setenv("MOE_MLIR_CACHE_DIR", "")
    assert not compiler.compile(module, cache=Cache.default()).is_cached
    monkeypatch.chdir(tmp_path)
    for wrong in ("no", "", 1, 0, b"mine"):
        with pytest.raises(TypeError) as error:
            compiler.compile(module, cache=wrong)
        assert str(error.value) == (
            f"'cache' expects True, False, a Cache or the Path of a folder, got {wrong!r}"
        )
    assert os.listdir(tmp_path) == ["mine"]


def test_least_recently_used_go_first(tmp_path):
    cache = Cache(tmp_path / "c", max_bytes=1 << 40)
    artifact = Artifact(bytes(1000), None, [], [])
    for key in "abcd":
        cache.put(key, artifact)
        os.utime(cache.folder / f"{key}.moe", (1, "abcd".index(key) + 1))
    assert cache.get("a") == artifact  # Used just now.
    size = (cache.folder / "a.moe").stat().st_size
    cache.max_bytes = 3 * size
    cache.put("e", artifact)
    assert [path.name for path in entries(cache.folder)] == ["a.moe", "d.moe", "e.moe"]
    cache.max_bytes = size - 1
    cache.put("f", artifact)  # Larger than the cache may be.
    assert cache.get("f") is None


@pytest.mark.parametrize("text", ["many", "0", "-5"])
def test_bound_of_the_environment(module, cache_folder, monkeypatch, text):
    monkeypatch.setenv("MOE_MLIR_CACHE_BYTES", text)
    if text == "many":
        with pytest.warns(CacheWarning) as caught:
            compiler.compile(module)
        assert str(caught[0].message) == (
            "MOE_MLIR_CACHE_BYTES expects a number of bytes, got 'many'"
        )
    else:
        compiler.compile(module)
        assert entries(cache_folder) == []


def test_unfinished_files_of_the_dead_go(tmp_path):
    cache = Cache(tmp_path)
    old, new = (tmp_path / f".{key}.moe.{'0' * 16}{_files.UNFINISHED}" for key in "xy")
    old.touch()
    new.touch()
    os.utime(old, (1, 1))
    cache.put("a", Artifact(b"", None, [], []))
    assert not old.exists() and new.exists()


def test_garbage_is_compiled_again(module, cache_folder):
    wanted = compiler.compile(module)
    (entry,) = entries(cache_folder)
    good = entry.read_bytes()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    flipped = bytearray(good)
    flipped[dice.randrange(len(good))] ^= 1 << dice.randrange(8)
    cut = good[: dice.randrange(len(good))]
    for garbage in (b"", b"garbage", cut, bytes(flipped), good + b"x", bytes(len(good))):
        entry.write_bytes(garbage)
        with pytest.warns(CacheWarning) as caught:
            artifact = compiler.compile(module)
        assert str(caught[0].message) == (
            f"the cache has garbage in {entry}; the module is compiled again"
        )
        assert artifact == wanted and not artifact.is_cached
        assert entry.read_bytes() == good
        assert compiler.compile(module).is_cached


def test_a_folder_in_place_of_an_entry(module, cache_folder):
    compiler.compile(module)
    (entry,) = entries(cache_folder)
    entry.unlink()
    entry.mkdir()
    with pytest.warns(CacheWarning) as caught:
        assert compiler.compile(module).data
    assert [str(w.message).split(":")[0] for w in caught] == [
        "the cache cannot be read",
        "the cache cannot be written",
    ]


def test_a_pipe_in_place_of_an_entry(module, cache_folder):
    compiler.compile(module)
    (entry,) = entries(cache_folder)
    entry.unlink()
    os.mkfifo(entry)
    with pytest.warns(CacheWarning) as caught:
        assert compiler.compile(module).data
    reason = f"[Errno 22] expected a regular file, found a device, a pipe or a socket: '{entry}'"
    assert [str(w.message) for w in caught] == [
        f"the cache cannot be read: {reason}",
        f"the cache cannot be written: {reason}",
    ]
    assert entry.is_fifo()


def test_folders_in_the_folder_stay(tmp_path):
    for name in ("old.tmp", "old.moe"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1, 1))
    cache = Cache(tmp_path, max_bytes=2000)
    artifact = Artifact(bytes(1000), None, [], [])
    for key in "abc":
        cache.put(key, artifact)
    assert sorted(os.listdir(tmp_path)) == ["c.moe", "old.moe", "old.tmp"]


def test_files_of_others_in_the_folder_stay(tmp_path):
    names = ["mine.moe", "report.tmp", ".report.moe.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(bytes(3000))
        os.utime(tmp_path / name, (1, 1))
    unfinished = tmp_path / f".a.moe.{'0' * 16}.tmp"
    unfinished.touch()
    os.utime(unfinished, (1, 1))
    cache = Cache(tmp_path, max_bytes=2000)
    artifact = Artifact(bytes(1000), None, [], [])
    for key in "abc":
        cache.put(key, artifact)
    assert sorted(os.listdir(tmp_path)) == sorted(["c.moe", *names])


@pytest.mark.parametrize(
    "head", [b"{", b"[]", b"{}", b"null", b"\xff", b'{"ptx": "a"}', b"[" * 100_000]
)
def test_garbage_with_a_good_hash_is_compiled_again(module, cache_folder, head):
    wanted = compiler.compile(module)
    (entry,) = entries(cache_folder)
    for body in (len(head).to_bytes(8, "little") + head, b"short"):
        entry.write_bytes(_MAGIC + hashlib.sha256(body).digest() + body)
        with pytest.warns(CacheWarning, match="the cache has garbage in"):
            assert compiler.compile(module) == wanted
        assert compiler.compile(module).is_cached


def test_a_file_in_place_of_the_folder(module, cache_folder):
    cache_folder.write_text("not a folder")
    with pytest.warns(CacheWarning) as caught:
        assert compiler.compile(module).data
    messages = [str(w.message) for w in caught]
    assert messages[-1].startswith("the cache cannot be written: [Errno ")
    assert cache_folder.read_text() == "not a folder"


SCRIPT = """
import sys, warnings
{before}
warnings.simplefilter("always")
from moe_mlir import compiler
artifact = compiler.compile(open(sys.argv[1]).read())
print(len(artifact.data), artifact.is_cached)
"""


def run(folder: Path, module: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """Compile in a process that has the folder for a cache."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before), str(module)],
        env={**os.environ, "MOE_MLIR_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def module_file(tmp_path: Path) -> Path:
    file = tmp_path / "exchange.mlir"
    file.write_text(EXCHANGE)
    return file


def test_a_folder_that_cannot_be_written(module_file, tmp_path):
    folder = tmp_path / "c"
    folder.mkdir(mode=0o555)
    # Nothing stops root; nobody is stopped.
    before = "import os\nos.setuid(65534) if os.getuid() == 0 else None"
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(0o755 if path == tmp_path else path.stat().st_mode | 0o055)
    child = run(folder, module_file, before)
    assert child.returncode == 0, child.stderr
    assert child.stdout.endswith(" False\n")
    assert "CacheWarning: the cache cannot be written: [Errno 13] Permission denied" in child.stderr
    assert os.listdir(folder) == []


FULL = """
import resource, sys, warnings
# What one file may have, standing for what is left on the disk.
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
warnings.simplefilter("always")
from moe_mlir.compiler import Artifact, Cache
cache = Cache(sys.argv[1])
cache.put("large", Artifact(bytes(100_000), None, [], []))
assert cache.get("large") is None
cache.put("small", Artifact(b"small", None, [], []))
assert cache.get("small").data == b"small"
"""


def test_a_disk_that_is_full(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert child.returncode == 0, child.stderr
    assert "CacheWarning: the cache cannot be written: [Errno 27] File too large" in child.stderr
    assert os.listdir(tmp_path) == ["small.moe"]


WORKER = """
import random, sys, warnings
warnings.simplefilter("error")
from moe_mlir import compiler
from moe_mlir.compiler import Cache
cache = Cache(sys.argv[1], max_bytes=20_000)
dice = random.Random(int(sys.argv[2]))
text = "func.func @f{0}(%x: tensor<4xf32>) -> tensor<4xf32> {{ return %x : tensor<4xf32> }}"
for _ in range(40):
    number = dice.randrange(6)
    artifact = compiler.compile(text.format(number), cache=cache)
    assert artifact.manifest["entries"][0]["name"] == f"f{number}", artifact.manifest
print("good")
"""


def test_processes_share_a_folder(tmp_path):
    """Four processes fill a cache with room for some of their modules."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "c"), str(seed + i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(4)
    ]
    for child in children:
        out, err = child.communicate(timeout=120)
        assert (child.returncode, out) == (0, "good\n"), err
    left = entries(tmp_path / "c")
    assert left and len(left) == len(os.listdir(tmp_path / "c"))
