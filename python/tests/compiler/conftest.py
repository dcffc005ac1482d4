"""Modules for the tests of the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moe_mlir import compiler

EXCHANGE = """\
shard.grid @ep(shape = 2)
func.func @exchange(%send: tensor<6x4xf32>, %counts: tensor<2xi32>)
    -> (tensor<12x4xf32>, tensor<2xi32>) {
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<6x4xf32>, tensor<2xi32>)
     -> (tensor<12x4xf32>, tensor<2xi32>)
  return %recv, %n : tensor<12x4xf32>, tensor<2xi32>
}
"""

# Attributes nested so deeply that the parser overflows its stack.
CRASHING = "module attributes {a = " + "[" * 4_000_000

# A private function without a body: what a pass of the compiler refuses.
BODILESS = """\
func.func private @g(tensor<4xf32>)
func.func @f(%x: tensor<4xf32>) {
  call @g(%x) : (tensor<4xf32>) -> ()
  return
}
"""


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
