# ===- test_abi.py - structures as C lays them out -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gpu import abi

ROOT = Path(__file__).resolve().parents[2]
NVCC = shutil.which("nvcc", path="/usr/local/cuda/bin") or shutil.which("nvcc")
# Fields in Python that have another name in C.
RENAMED = {"send_row": "sendRow", "recv_source": "recvSource", "recv_experts": "recvExperts",
           "recv_weights": "recvWeights", "top_k": "topK", "experts_per_rank": "expertsPerRank",
           "row_bytes": "rowBytes", "context": "manager_ctx", "type": "device_type", "id": "device_id"}
STRUCTURES = {"moeb_group": abi.GroupStruct, "moeb_exchange": abi.Exchange, "moert_bootstrap": abi.Bootstrap,
              "moert_options": abi.Options, "DLTensor": abi.DLTensor, "DLManagedTensor": abi.DLManagedTensor,
              "DLDevice": abi.DLDevice, "DLDataType": abi.DLDataType}


def test_layouts(tmp_path):
    lines, expected = [], []
    for name, structure in STRUCTURES.items():
        lines.append(f'printf("%zu\\n", sizeof({name}));')
        expected.append((name, abi.c.sizeof(structure)))
        for field, _ in structure._fields_:
            lines.append(f'printf("%zu\\n", offsetof({name}, {RENAMED.get(field, field)}));')
            expected.append((f"{name}.{field}", getattr(structure, field).offset))
    lines.append('printf("%d\\n%d\\n", MOEB_MAX_RANKS, MOEB_STATE_WORDS);')
    expected += [("ranks", abi.MAX_RANKS), ("state words", abi.STATE_WORDS)]
    source = tmp_path / "layouts.c"
    source.write_text('#include "Baselines.h"\n#include "moe-runtime/Runtime.h"\n#include <stddef.h>\n'
                      "#include <stdio.h>\nint main(void) {" + "\n".join(lines) + "return 0; }\n")
    subprocess.run(["cc", f"-I{ROOT / 'benchmarks' / 'baselines'}", f"-I{ROOT / 'runtime' / 'include'}", source, "-o",
                    tmp_path / "layouts"], check=True, timeout=60)
    printed = subprocess.run([tmp_path / "layouts"], check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    assert list(zip([name for name, _ in expected], map(int, printed.split()))) == expected


def test_hand_written_kernels_compile(tmp_path):
    """Without spills, which would be no fair baseline."""
    if not NVCC:
        pytest.skip("no nvcc")
    sources = sorted((ROOT / "benchmarks" / "baselines").glob("*.cu"))
    assert sources
    for source in sources:
        done = subprocess.run([NVCC, "-arch=sm_90", "-O3", "-std=c++17", "-Xptxas", "-v", "-cubin", "-o",
                               tmp_path / "kernel.cubin", source], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=120)
        assert done.returncode == 0, done.stdout
        assert "warning" not in done.stdout, done.stdout
        stores = re.findall(r"(\d+) bytes spill stores", done.stdout)
        assert stores and set(stores) == {"0"}, done.stdout
