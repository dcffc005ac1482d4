"""Artifacts that the tests load: written by hand, or compiled here."""

from __future__ import annotations

import os
import pathlib
import subprocess
import textwrap

import pytest
from modules import EXCHANGE, LOCAL


def compile_module(text: str, path: pathlib.Path, *options: str) -> pathlib.Path:
    """An artifact beside the text at `path`."""
    path.with_suffix(".mlir").write_text(textwrap.dedent(text))
    compiler = pathlib.Path(os.environ["MOE_BIN_DIR"]) / "moe-compile"
    subprocess.run(
        [compiler, path.with_suffix(".mlir"), "-o", path, *options], check=True, timeout=120
    )
    return path


@pytest.fixture(scope="session")
def by_hand() -> pathlib.Path:
    """Folder of the artifacts that are written by hand (runtime/tests/artifacts)."""
    return pathlib.Path(os.environ["MOE_TEST_ARTIFACT_DIR"])


@pytest.fixture(scope="session")
def exchange(tmp_path_factory) -> str:
    """An exchange of three ranks."""
    return str(compile_module(EXCHANGE, tmp_path_factory.mktemp("host") / "exchange.so"))


@pytest.fixture(scope="session")
def scale(tmp_path_factory) -> str:
    """An entry that does not communicate, whose result's shape is its argument's."""
    return str(compile_module(LOCAL, tmp_path_factory.mktemp("host") / "scale.so"))
