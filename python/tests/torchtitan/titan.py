# ===- titan.py - layers of torchtitan on processes with gloo -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""torchtitan's own classes on CPUs: a layer of experts, dense or on a mesh of ranks.

torchtitan 0.3.0 is made for GPUs and for a newer torch than this project's tests have.
What is put right here lies outside the classes under test:

* The kernels of its "minimal_async_ep" are in triton, which is not installed. They are
  imported with every dispatcher, and not called.
* ``torch.compiler._is_non_strict_tracing``, which its all-to-all asks, came after torch
  2.11. What is here is not traced so.
* It takes a machine without GPUs for one with GPUs that it cannot see.
"""

from __future__ import annotations

import functools
import sys
import types
import warnings

import torch


class _NoKernels(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return None


_KERNELS = "torchtitan.distributed.minimal_async_ep.kernels"
sys.modules.setdefault(_KERNELS, _NoKernels(_KERNELS))
if not hasattr(torch.compiler, "_is_non_strict_tracing"):
    torch.compiler._is_non_strict_tracing = lambda: False

import spmd_types as spmd  # noqa: E402
import torch.testing._internal.distributed.fake_pg  # noqa: E402 # of its meshes
from torchtitan.config import OverrideConfig, apply_overrides  # noqa: E402
from torchtitan.config.override import parse_cli_imports  # noqa: E402
from torchtitan.distributed import parallel_dims, utils  # noqa: E402
from torchtitan.models.common.config_utils import (  # noqa: E402
    make_moe_config,
    make_routed_experts_config,
    make_router_config,
)
from torchtitan.models.common.moe_sharding import set_moe_sharding_config  # noqa: E402
from torchtitan.tools import utils as tools  # noqa: E402

if not torch.cuda.is_available():
    parallel_dims.device_type = tools.device_type = "cpu"

EXPERTS, TOP_K, DIM, HIDDEN = 8, 3, 16, 32
MAX_TOKENS = 8
WEIGHTS = {"w1_EFD": spmd.S(1), "w2_EDF": spmd.S(2), "w3_EFD": spmd.S(1)}
# The router multiplies in float32, which autocast of CPUs has no switch for.
warnings.filterwarnings("ignore", "In CPU autocast")


def _init(tensor):
    torch.nn.init.normal_(tensor, std=0.4)


def config(backend="standard", **routed):
    """A layer as a model of torchtitan describes it."""
    cfg = make_moe_config(
        num_experts=EXPERTS,
        router=make_router_config(
            dim=DIM, num_experts=EXPERTS, gate_param_init={"weight": _init}, top_k=TOP_K
        ),
        routed_experts=make_routed_experts_config(
            dim=DIM, hidden_dim=HIDDEN, num_experts=EXPERTS, top_k=TOP_K,
            param_init=dict.fromkeys(WEIGHTS, _init), comm_backend=backend, **routed,
        ),
    )  # fmt: skip
    set_moe_sharding_config(
        cfg, enable_ep=True, enable_sp=False, expert_param_layout=WEIGHTS
    )
    return cfg


def override(cfg, *words):
    """What ``--override.imports WORD...`` makes of a configuration."""
    apply_overrides(OverrideConfig(imports=parse_cli_imports(list(words))), cfg)
    return cfg


def ours(fields='"dtype": "float32"', **options):
    """A configuration with the dispatcher of moe-mlir in it."""
    given = f'"hidden_dim": {DIM}, "num_max_tokens_per_rank": {MAX_TOKENS}, {fields}'
    return override(config(**options), f"moe_mlir.torchtitan.token_dispatcher={{{given}}}")


@functools.cache
def mesh(ep, ranks, backend):
    """Axes of `ranks` processes, `ep` of which share the experts."""
    dims = parallel_dims.ParallelDims(
        dp_replicate=1, dp_shard=ranks, cp=1, tp=1, pp=1, ep=ep, world_size=ranks,
        spmd_backend=backend,
    )  # fmt: skip
    dims.build_mesh()
    return dims


def dense(seed=1):
    """The layer in one process, with values that depend on the seed."""
    torch.manual_seed(seed)
    layer = config().build()
    layer.init_states()
    return layer


def parallel(cfg, dims, like):
    """A layer on a mesh, with the values of a dense one."""
    utils.set_spmd_backend(dims.spmd_backend)
    layer = cfg.build()
    layer.load_state_dict(like.state_dict())
    layer.parallelize(dims)
    return layer


def context(dims):
    """What torchtitan's trainer has around a step."""
    return utils.get_spmd_context(parallel_dims=dims)()


def local(tensor):
    """The part of a sharded tensor that is on this rank."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def inputs(rank, seed, tokens, dim=DIM):
    """Tokens of a rank, and a gradient of what is made of them."""
    own = torch.Generator().manual_seed(seed * 100 + rank)
    return tuple(torch.randn((1, tokens, dim), generator=own) for _ in range(2))


def run(layer, x, grad_out, dims=None):
    """The result, and the gradients of x, of the router and of the experts' weights."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    if dims is None or dims.spmd_backend != "spmd_types":
        out = layer(x)
        out.backward(grad_out)
    else:
        with context(dims):
            out = layer(x)
            out.backward(grad_out)
    experts = layer.routed_experts.inner_experts
    grads = [layer.router.gate.weight.grad] + [getattr(experts, name).grad for name in WEIGHTS]
    return [local(out.detach()), local(x.grad), *(local(grad).clone() for grad in grads)]


def close(found, expected, bits=7):
    """Whether values are the same but for the rounding to bfloat16.

    torchtitan's experts multiply in it. Sums of f32 may differ in their last bit with the
    number of rows that are multiplied at once; where that turns the rounding of a value,
    results differ by some of its 2^-8. Large values stand for all that are added up.
    """
    assert found.shape == expected.shape
    if found.numel():
        largest = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=0, atol=2.0**-bits * largest)
