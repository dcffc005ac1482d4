# ===- _groups.py - groups of ranks that are devices of a mesh -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Groups along an axis of a mesh: ranks are threads, processes, or both."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from moe_mlir import _runtime
from moe_mlir.runtime import Group

Result = TypeVar("Result")

DEFAULT_TIMEOUT = 20.0

# How many groups have been made of the same devices. The processes of these devices
# make them in the same order, so they count alike, whatever other groups each of them has.
_numbers: dict[str, Iterator[int]] = {}
# The same of exchanges, by the mesh.
_exchanges: dict[str, Iterator[int]] = {}
# What ranks of this process have left in the service of jax.distributed for others to
# read, by the devices as well.
_left: dict[str, set[str]] = {}


@dataclasses.dataclass(frozen=True)
class Line:
    """The ranks of one group: devices along the axis, others of the mesh fixed.

    Attributes
    ----------
    devices : list of jax.Device
        In rank order, those of other processes too.
    local : list of int
        Ranks of this process.
    """

    devices: list[Any]
    local: list[int]

    @property
    def is_all_here(self) -> bool:
        """Whether all ranks are of this process."""
        return len(self.local) == len(self.devices)

    @property
    def name(self) -> str:
        """The same in all processes of these devices, and another one for other devices."""
        ids = ",".join(str(device.id) for device in self.devices)
        return hashlib.sha256(ids.encode()).hexdigest()[:32]


def lines(mesh: jax.sharding.Mesh, axis: str) -> list[Line]:
    """The groups that have ranks in this process."""
    position = mesh.axis_names.index(axis)
    columns = np.moveaxis(mesh.devices, position, -1).reshape(-1, mesh.shape[axis])
    here = jax.process_index()
    found = []
    for column in columns:
        devices = list(column)
        local = [r for r, device in enumerate(devices) if device.process_index == here]
        if local:
            found.append(Line(devices, local))
    return found


def next_exchange(mesh: jax.sharding.Mesh, axis: str) -> int:
    """The number of the next exchange of a mesh, the same in all of its processes.

    Programs name exchanges by numbers, and XLA needs the same program in all processes of
    a mesh. So what each of them has made of other meshes does not count, and an exchange
    that could be made in some processes only does.
    """
    ids = ",".join(str(device.id) for device in mesh.devices.flat)
    name = f"{ids} {mesh.devices.shape} {mesh.axis_names} {axis}"
    count = next(_exchanges.setdefault(name, itertools.count()))
    digest = hashlib.sha256(f"{name} {count}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def ordinal_of(device: Any) -> int:
    """The number by which XLA's handlers know a device of this process."""
    return int(device.id if device.platform == "cpu" else device.local_hardware_id)


def backend_of(mesh: jax.sharding.Mesh) -> str:
    """The runtime's backend for the devices of a mesh.

    Raises
    ------
    ValueError
        The runtime has none for them.
    """
    platforms = {device.platform for device in mesh.devices.flat}
    names = {"cpu": "host", "gpu": "cuda", "cuda": "cuda"}
    if len(platforms) != 1 or not platforms <= names.keys():
        raise ValueError(
            "ExpertParallel: expected a mesh of CPU devices or of CUDA devices, got "
            f"{', '.join(sorted(platforms))}"
        )
    return names[platforms.pop()]


def check_order(line: Line, backend: str) -> None:
    """Refuse processes whose programs may overlap, each in another order.

    Raises
    ------
    ValueError
        JAX runs programs on CPU devices while it enqueues others.
    """
    is_async = jax.config.values.get("jax_cpu_enable_async_dispatch", True)
    if backend == "host" and is_async and not line.is_all_here:
        raise ValueError(
            "ExpertParallel: expected jax.config.update('jax_cpu_enable_async_dispatch', False) "
            "before the first program, since CPU devices of several processes may run programs in "
            "different orders otherwise"
        )


def make(line: Line, backend: str, options: dict[str, Any]) -> list[Group]:
    """The group of a line: one member per rank of this process. Collective."""
    devices = [line.devices[rank].local_hardware_id for rank in line.local]
    given = {"backend": backend, **options}
    if line.is_all_here:
        if backend == "cuda":
            given["devices"] = devices
        return [Group(c) for c in _runtime.create_in_threads(len(line.devices), **given)]

    number = next(_numbers.setdefault(line.name, itertools.count()))
    client, key = _client(), f"moe_mlir/{line.name}/{number}"
    left = _left.setdefault(line.name, set())
    earlier = frozenset(left)
    gathers = [
        DistributedGather(client, key, rank, len(line.devices), left) for rank in line.local
    ]

    def join(i: int) -> Group:
        # Ranks join at the same time, so each has options of its own.
        mine = {**given, "device": devices[i]} if backend == "cuda" else given
        return Group.from_allgather(line.local[i], len(line.devices), gathers[i], **mine)

    groups = together(join, len(line.local))
    # All ranks have come to this group, so none still reads for an earlier one.
    for name in earlier & left:
        left.remove(name)
        client.key_value_delete(name)
    return groups


def together(function: Callable[[int], Result], count: int) -> list[Result]:
    """Call a collective function for ranks 0 to `count` - 1 at the same time.

    Raises
    ------
    Exception
        The error of the first rank that has one.
    """
    if count == 1:
        return [function(0)]
    results: list[Any] = [None] * count
    errors: list[BaseException | None] = [None] * count

    def run(i: int) -> None:
        try:
            results[i] = function(i)
        except BaseException as error:
            errors[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        if error is not None:
            raise error
    return results


def _client() -> Any:
    """The client of the service that `jax.distributed.initialize` joins.

    Raises
    ------
    RuntimeError
        It has not been joined, or this version of JAX does not show it.
    """
    try:
        from jax._src.distributed import global_state

        client = global_state.client
    except (ImportError, AttributeError):
        client = None
    if client is None:
        raise RuntimeError(
            "ExpertParallel: expected jax.distributed.initialize() to have been called, since "
            "ranks are in several processes; else give group=Group.from_env() or the like"
        )
    return client


class DistributedGather:
    """The all-gather of a rank over the service of ``jax.distributed``.

    Parameters
    ----------
    client
        Of the service.
    key : str
        What the keys of this group begin with, and no others.
    rank, size : int
    left : set of str
        Has the keys that are in the service. The group uses this after it has been made
        as well, so that of the last call stays until the next group is made.
    """

    def __init__(self, client: Any, key: str, rank: int, size: int, left: set[str]) -> None:
        self._client, self._key, self._rank, self._size = client, key, rank, size
        self._left = left
        self._rounds = itertools.count()

    def __call__(self, mine: bytes, timeout: float) -> bytes:
        """The bytes of all ranks, which have `timeout` seconds together."""
        end = time.monotonic() + timeout
        number = next(self._rounds)
        own = f"{self._key}/{number}/{self._rank}"
        self._client.key_value_set_bytes(own, mine)
        self._left.add(own)
        every = []
        for other in range(self._size):
            name = f"{self._key}/{number}/{other}"
            # After the end there is time to read what has come before, and no more.
            left = max(int((end - time.monotonic()) * 1000), 100)
            try:
                got = self._client.blocking_key_value_get_bytes(name, left)
            except Exception as error:
                # The service's own message has the key and no rank.
                raise TimeoutError(
                    f"rank {other} has not come within {timeout:g} s to join the group"
                ) from error
            every.append(got)
        # All ranks have read what came before, or they would not be here.
        before = f"{self._key}/{number - 1}/{self._rank}"
        if before in self._left:
            self._left.remove(before)
            self._client.key_value_delete(before)
        return b"".join(every)


def check_given(given: Sequence[Group], line: Line, backend: str) -> None:
    """Refuse members of a group that do not fit the mesh.

    Raises
    ------
    ValueError
        Another number of ranks, other ranks, or other devices.
    """
    size = len(line.devices)
    if [group.rank for group in given] != line.local or any(g.size != size for g in given):
        raise ValueError(
            f"ExpertParallel: expected group to be rank {', '.join(map(str, line.local))} of "
            f"{size}, as the devices of the axis, got {', '.join(map(repr, given))}"
        )
    for group, rank in zip(given, line.local, strict=True):
        device = line.devices[rank]
        expected = "cpu" if backend == "host" else f"cuda:{device.local_hardware_id}"
        if group.device != expected:
            raise ValueError(
                f"ExpertParallel: expected rank {rank} on {expected}, where {device} is, got "
                f"{group.device}"
            )
