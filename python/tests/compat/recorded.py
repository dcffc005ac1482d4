# ===- recorded.py - DeepEP's interface, as it is at the pinned version -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Names, order and defaults of parameters of DeepEP 2.1.0 (commit dd758ca)."""

VERSION = "2.1.0"

_EVENTS = {"previous_event": None, "async_finish": False, "allocate_on_comm_stream": False}
REQUIRED = ...

ELASTIC = {
    "__init__": {
        "group": REQUIRED, "num_bytes": None, "num_cpu_bytes": 0, "num_max_tokens_per_rank": 0,
        "hidden": 0, "num_topk": 0, "use_fp8_dispatch": False, "deterministic": False,
        "allow_hybrid_mode": True, "allow_multiple_reduction": True,
        "prefer_overlap_with_compute": True, "sl_idx": 3, "num_allocated_qps": 0,
        "num_cpu_timeout_secs": 300, "num_gpu_timeout_secs": 100, "explicitly_destroy": False,
    },
    "destroy": {},
    "get_buffer_size_hint": {
        "group": REQUIRED, "num_max_tokens_per_rank": REQUIRED, "hidden": REQUIRED,
        "num_topk": 0, "use_fp8_dispatch": False, "allow_hybrid_mode": True,
        "allow_multiple_reduction": True,
    },
    "barrier": {"use_comm_stream": True, "with_cpu_sync": False, "sequential": True},
    "capture": {},
    "get_comm_stream": {},
    "get_physical_domain_size": {},
    "get_logical_domain_size": {},
    "get_theoretical_num_sms": {
        "num_experts": REQUIRED, "num_topk": REQUIRED, "num_scaleout_topk": 0, "rdma_gbs": 0,
        "nvlink_gbs": 0, "sm_read_gbs": 200, "sm_write_gbs": 50,
    },
    "get_theoretical_num_qps": {"num_sms": REQUIRED},
    "dispatch": {
        "x": REQUIRED, "topk_idx": None, "topk_weights": None,
        "cumulative_local_expert_recv_stats": None, "num_experts": None,
        "num_max_tokens_per_rank": None, "expert_alignment": None, "num_sms": 0, "num_qps": 0,
        "previous_event": None, "previous_event_before_epilogue": None,
        "async_with_compute_stream": False, "allocate_on_comm_stream": False, "handle": None,
        "do_handle_copy": True, "do_cpu_sync": None, "do_expand": False,
        "do_zero_padding": False, "use_tma_aligned_col_major_sf": False,
    },
    "combine": {
        "x": REQUIRED, "handle": REQUIRED, "topk_weights": None, "bias": None, "num_sms": 0,
        "num_qps": 0, "previous_event": None, "previous_event_before_epilogue": None,
        "async_with_compute_stream": False, "allocate_on_comm_stream": False,
    },
}  # fmt: skip

ELASTIC_MISSING = (
    "get_engram_storage_size_hint", "engram_write", "engram_fetch", "get_pp_buffer_size_hint",
    "pp_set_config", "pp_send", "pp_recv", "get_agrs_num_max_session_bytes",
    "get_agrs_buffer_size_hint", "create_agrs_session", "destroy_agrs_session",
    "agrs_new_session", "agrs_set_config", "agrs_get_inplace_tensor", "all_gather",
)  # fmt: skip

BUFFER = {
    "__init__": {
        "group": REQUIRED, "num_nvl_bytes": 0, "num_rdma_bytes": 0, "low_latency_mode": False,
        "num_qps_per_rank": 24, "allow_nvlink_for_low_latency_mode": True, "allow_mnnvl": False,
        "explicitly_destroy": False, "enable_shrink": False, "comm": None,
    },
    "destroy": {},
    "is_sm90_compiled": {},
    "set_num_sms": {"new_num_sms": REQUIRED},
    "capture": {},
    "get_low_latency_rdma_size_hint": {
        "num_max_dispatch_tokens_per_rank": REQUIRED, "hidden": REQUIRED, "num_ranks": REQUIRED,
        "num_experts": REQUIRED,
    },
    "get_comm_stream": {},
    "get_dispatch_config": {"num_ranks": REQUIRED},
    "get_combine_config": {"num_ranks": REQUIRED},
    "get_dispatch_layout": {"topk_idx": REQUIRED, "num_experts": REQUIRED, **_EVENTS},
    "dispatch": {
        "x": REQUIRED, "handle": None, "num_tokens_per_rank": None,
        "num_tokens_per_rdma_rank": None, "is_token_in_rank": None,
        "num_tokens_per_expert": None, "topk_idx": None, "topk_weights": None,
        "expert_alignment": 1, "num_worst_tokens": 0, "config": None, **_EVENTS,
    },
    "combine": {
        "x": REQUIRED, "handle": REQUIRED, "topk_weights": None, "bias": None, "config": None,
        **_EVENTS,
    },
    "clean_low_latency_buffer": {
        "num_max_dispatch_tokens_per_rank": REQUIRED, "hidden": REQUIRED,
        "num_experts": REQUIRED,
    },
    "low_latency_dispatch": {
        "x": REQUIRED, "topk_idx": REQUIRED, "num_max_dispatch_tokens_per_rank": REQUIRED,
        "num_experts": REQUIRED, "cumulative_local_expert_recv_stats": None,
        "dispatch_wait_recv_cost_stats": None, "use_fp8": True, "round_scale": False,
        "use_ue8m0": False, "async_finish": False, "return_recv_hook": False,
    },
    "low_latency_combine": {
        "x": REQUIRED, "topk_idx": REQUIRED, "topk_weights": REQUIRED, "handle": REQUIRED,
        "use_logfmt": False, "zero_copy": False, "async_finish": False,
        "return_recv_hook": False, "out": None, "combine_wait_recv_cost_stats": None,
    },
    "get_next_low_latency_combine_buffer": {"handle": REQUIRED},
}  # fmt: skip

BUFFER_MISSING = (
    "internode_dispatch", "internode_combine", "get_local_buffer_tensor",
    "low_latency_update_mask_buffer", "low_latency_query_mask_buffer",
    "low_latency_clean_mask_buffer",
)  # fmt: skip

CONFIG = {
    "num_sms": 20, "num_max_nvl_chunked_send_tokens": 6, "num_max_nvl_chunked_recv_tokens": 256,
    "num_max_rdma_chunked_send_tokens": 6, "num_max_rdma_chunked_recv_tokens": 256,
}  # fmt: skip

EVENT_OVERLAP = {
    "__init__": {"event": None, "extra_tensors": None},
    "current_stream_wait": {"release_handle": False},
    "register_hook_after_wait": {"hook_after_wait": REQUIRED},
    "__call__": {"release_handle": False},
}

NAMES = (
    "Buffer", "Config", "EPHandle", "ElasticBuffer", "EventHandle", "EventOverlap",
    "get_logical_domain_size", "get_physical_domain_size", "topk_idx_t",
)  # fmt: skip

ELASTIC_ATTRIBUTES = (
    "group", "rank_idx", "num_ranks", "allow_hybrid_mode", "allow_multiple_reduction",
    "prefer_overlap_with_compute", "num_bytes", "num_max_tokens_per_rank",
    "num_scaleout_ranks", "num_scaleup_ranks", "scaleout_rank_idx", "scaleup_rank_idx",
    "num_rdma_ranks", "num_nvlink_ranks", "deterministic", "num_allocated_qps",
    "explicitly_destroy",
)  # fmt: skip

BUFFER_ATTRIBUTES = (
    "num_sms", "rank", "group_size", "group", "num_nvl_bytes", "num_rdma_bytes",
    "low_latency_mode", "explicitly_destroy", "enable_shrink",
)  # fmt: skip

HANDLE_ATTRIBUTES = (
    "do_expand", "num_experts", "expert_alignment", "num_max_tokens_per_rank", "num_sms",
    "topk_idx", "psum_num_recv_tokens_per_scaleup_rank", "psum_num_recv_tokens_per_expert",
    "num_recv_tokens_per_expert_list", "num_unaligned_recv_tokens_per_expert",
    "recv_src_metadata", "dst_buffer_slot_idx", "token_metadata_at_forward",
    "channel_linked_list", "num_recv_tokens", "num_expanded_tokens",
)  # fmt: skip
