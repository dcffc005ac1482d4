# ===- abi.py - C structures of the libraries -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The structures of DLPack, of Runtime.h and of Baselines.h, and how a library
is loaded."""

import ctypes as c
from pathlib import Path

MAX_RANKS, MAX_BLOCKS = 8, 1024
STATE_WORDS = 64 + MAX_BLOCKS * MAX_RANKS


def load_library(path):
    """Loads the shared library in the file `path`. A name without a folder is a file of the current one: the dynamic
    loader by itself would look for it in the folders of the system."""
    return c.CDLL(str(Path(path).absolute()))


class DLDevice(c.Structure):
    _fields_ = [("type", c.c_int32), ("id", c.c_int32)]


class DLDataType(c.Structure):
    _fields_ = [("code", c.c_uint8), ("bits", c.c_uint8), ("lanes", c.c_uint16)]


class DLTensor(c.Structure):
    _fields_ = [("data", c.c_void_p), ("device", DLDevice), ("ndim", c.c_int32), ("dtype", DLDataType),
                ("shape", c.POINTER(c.c_int64)), ("strides", c.POINTER(c.c_int64)), ("byte_offset", c.c_uint64)]


class DLManagedTensor(c.Structure):
    pass


DELETER = c.CFUNCTYPE(None, c.POINTER(DLManagedTensor))
DLManagedTensor._fields_ = [("dl_tensor", DLTensor), ("context", c.c_void_p), ("deleter", DELETER)]

ALLGATHER = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p, c.c_double)


class Bootstrap(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("rank", c.c_int32), ("size", c.c_int32), ("user", c.c_void_p),
                ("allgather", ALLGATHER), ("allgather_explained", c.c_void_p)]


class Options(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("timeout_seconds", c.c_double), ("symm_reserve_bytes", c.c_size_t),
                ("backend", c.c_char_p), ("device", c.c_int32), ("nccl_comm", c.c_void_p), ("nccl_lent", c.c_int32)]


class GroupStruct(c.Structure):
    _fields_ = [("slices", c.c_void_p * MAX_RANKS), ("ranks", c.c_int32), ("rank", c.c_int32),
                ("timeout_ns", c.c_uint64), ("state", c.c_void_p), ("error", c.c_void_p)]


class Exchange(c.Structure):
    _fields_ = [(name, c.c_void_p) for name in ("x", "experts", "weights", "out", "send_row")] + \
               [(name, c.c_uint64) for name in ("recv", "y", "recv_source", "recv_experts", "recv_weights")] + \
               [(name, c.c_int32) for name in ("tokens", "top_k", "experts_per_rank", "row_bytes", "capacity")]
