"""Fixtures for the tests of the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_modules import EXCHANGE

from moe_mlir import compiler


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test a cache of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MOE_MLIR_CACHE_DIR", str(folder))
    monkeypatch.delenv("MOE_MLIR_CACHE_BYTES", raising=False)
    yield folder


@pytest.fixture
def module() -> compiler.Module:
    return compiler.parse(EXCHANGE, filename="exchange.mlir")
