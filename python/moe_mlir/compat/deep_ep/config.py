# ===- config.py - configurations of DeepEP's kernels -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
""":class:`Config`, of which the exchanges here use the number of SMs."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class Config:
    """What DeepEP's normal kernels are tuned by.

    Only `num_sms` has an effect here: on GPUs it is the number of blocks of a kernel. There
    are no chunks, since rows go straight to their places.

    Parameters
    ----------
    num_sms : int
        Blocks of a kernel.
    num_max_nvl_chunked_send_tokens, num_max_nvl_chunked_recv_tokens : int
        Accepted.
    num_max_rdma_chunked_send_tokens, num_max_rdma_chunked_recv_tokens : int
        Accepted.

    Raises
    ------
    ValueError
        A number is out of range.
    """

    num_sms: int = 20
    num_max_nvl_chunked_send_tokens: int = 6
    num_max_nvl_chunked_recv_tokens: int = 256
    num_max_rdma_chunked_send_tokens: int = 6
    num_max_rdma_chunked_recv_tokens: int = 256

    def __post_init__(self) -> None:
        if self.num_sms < 0:
            raise ValueError(f"Config: expected num_sms to be at least 0, got {self.num_sms}")
        for link in ("nvl", "rdma"):
            sent = getattr(self, f"num_max_{link}_chunked_send_tokens")
            received = getattr(self, f"num_max_{link}_chunked_recv_tokens")
            if not 0 < sent < received:
                raise ValueError(
                    f"Config: expected 0 < num_max_{link}_chunked_send_tokens < "
                    f"num_max_{link}_chunked_recv_tokens, got {sent} and {received}"
                )

    def get_nvl_buffer_size_hint(self, hidden_bytes: int, num_ranks: int) -> int:
        """Bytes that `Buffer` may be given; it takes what it needs, whatever they are."""
        rows = num_ranks * self.num_max_nvl_chunked_recv_tokens
        return -(-rows * hidden_bytes // 128) * 128

    def get_rdma_buffer_size_hint(self, hidden_bytes: int, num_ranks: int) -> int:
        """0: there is no memory for another link."""
        return 0
