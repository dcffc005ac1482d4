# ===- handwritten.py - the hand-written kernels through ctypes -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Builds and calls the library in benchmarks/baselines."""

import ctypes as c
import subprocess
from pathlib import Path

import torch

from .abi import MAX_RANKS, STATE_WORDS, GroupStruct, load_library

SOURCES = Path(__file__).resolve().parents[1] / "baselines"
HEADER_BYTES = 1024  # MOEB_SLICE_WORDS
PHASES = ("start", "counts", "dispatch done", "combine ready", "combine done", "grid", "bulk copy", "capacity")
TIMEOUT_NS = 3_000_000_000


def build(out, nvcc="nvcc", arch="sm_90"):
    """Compiles the library."""
    command = [nvcc, f"-arch={arch}", "-O3", "-std=c++17", "-shared", "-Xcompiler", "-fPIC", "-o", out,
               *sorted(SOURCES.glob("*.cu"))]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"nvcc failed:\n{done.stdout}")


def build_missing(args):
    """Makes the library of the options of `options.add_run`, unless it is there."""
    if not args.baselines.exists():
        print(f"building {args.baselines}")
        build(args.baselines, args.nvcc, args.arch)


class Library:

    def __init__(self, path):
        self.lib = load_library(path)
        self.lib.moeb_error_string.restype = c.c_char_p
        number, pointer, size = c.c_int, c.c_void_p, c.c_uint64
        for name, arguments in [
                ("barrier", [size, pointer]), ("stores", [pointer, size, size, number, pointer]),
                ("loads", [pointer, size, size, number, pointer]), ("bulk", [pointer, size, size, number, pointer]),
                ("copy_engines", [pointer, size, size, pointer]), ("bytes", [pointer, size, size, pointer])]:
            getattr(self.lib, f"moeb_{name}").argtypes = [pointer, *arguments]
        for name in ("dispatch_stores", "dispatch_bulk", "combine_loads", "combine_bulk", "dispatch_slab",
                     "combine_slab"):
            getattr(self.lib, f"moeb_{name}").argtypes = [pointer, pointer, number, pointer]

    def call(self, name, *arguments):
        """On the current stream."""
        code = getattr(self.lib, f"moeb_{name}")(*arguments, torch.cuda.current_stream().cuda_stream)
        if code:
            raise RuntimeError(f"moeb_{name}: {self.lib.moeb_error_string(code).decode()}")


class Group:
    """The ranks and a symmetric buffer whose first bytes are the library's."""

    def __init__(self, library, buffer, rank, ranks, device):
        self.library, self.buffer = library, buffer
        self.state = torch.zeros(STATE_WORDS, dtype=torch.int32, device=device)
        self.error = torch.zeros(4, dtype=torch.int64, device=device)
        self.struct = GroupStruct((c.c_void_p * MAX_RANKS)(*buffer.addresses), ranks, rank, TIMEOUT_NS,
                                  self.state.data_ptr(), self.error.data_ptr())
        torch.cuda.current_stream().synchronize()

    def call(self, name, *arguments):
        self.library.call(name, c.byref(self.struct), *arguments)

    def check_errors(self):
        phase, peer, expected, seen = self.error.tolist()
        if phase:
            raise RuntimeError(f"hand-written kernel gave up in phase '{PHASES[phase - 1]}', peer {peer}: "
                               f"expected {expected}, saw {seen}")
