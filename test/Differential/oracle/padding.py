#===- padding.py - rows that no token was sent to -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What the rows hold that no token was sent to."""


def pad(attrs, valid, **fields):
    """dispatch_s12: what the rows hold that no token was sent to."""
    if attrs.padding == "zero":
        for name, buffer in fields.items():
            buffer[~valid] = -1 if name in ("recv_topk_idx", "recv_src_idx") else 0
