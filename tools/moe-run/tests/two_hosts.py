# ===- two_hosts.py - two hosts on one machine -------------------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Two network namespaces with a cable between them, in namespaces of processes
and mounts of their own: so nothing of them is left when the process that holds
them ends, however that happens. Needs no root where users may make namespaces.

Each host has a name, an address and a /dev/shm of its own; files are shared.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

HOSTS = ("moe-a", "moe-b")

# Waits for its input to end, as it does when the program that made it does.
HOLDER = r"""
set -e
mount -t tmpfs tmpfs /run
mkdir /run/netns
for h in moe-a moe-b; do
  ip netns add $h
  ip -n $h link set lo up
done
ip link add name moe0 netns moe-a type veth peer name moe0 netns moe-b
ip -n moe-a addr add 10.77.0.1/24 dev moe0
ip -n moe-b addr add 10.77.0.2/24 dev moe0
ip -n moe-a link set moe0 up
ip -n moe-b link set moe0 up
echo ready
cat > /dev/null
"""

# Runs a command on a host. What mpirun gives to its remote shell is a line for
# a shell; --exec takes words.
ON_HOST = r"""#!/bin/sh
host=$1; shift
exec ip netns exec "$host" unshare --uts sh -c '
  hostname "$1"; shift
  mount -t tmpfs tmpfs /dev/shm && export TMPDIR=/dev/shm
  if [ "$1" = --exec ]; then shift; exec "$@"; fi
  exec sh -c "$*"' sh "$host" "$@"
"""

NAMESPACES = ["--net", "--mount", "--pid", "--fork", "--kill-child",
              "--mount-proc"]


def unshare_command(as_user: bool) -> list[str]:
    return ["unshare", *(["--map-root-user"] if as_user else []), *NAMESPACES]


@functools.lru_cache
def why_not(as_user: bool) -> str:
    """Why this machine cannot have two hosts, or ""."""
    for program in ("unshare", "nsenter", "ip", "mpirun"):
        if not shutil.which(program):
            return f"{program} is not installed"
    try:
        made = subprocess.run(
            [*unshare_command(as_user), "sh", "-c", HOLDER], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=30)
    except subprocess.TimeoutExpired:
        return "making network namespaces did not end within 30 s"
    if made.returncode != 0 or "ready" not in made.stdout:
        reason = made.stderr.strip().splitlines() or ["no reason given"]
        return ("network namespaces cannot be made "
                f"{'without' if as_user else 'as'} root: {reason[-1]}")
    return ""


class TwoHosts:
    """The hosts moe-a and moe-b.

    Parameters
    ----------
    folder : Path
        Where commands run, and the script is by which mpirun reaches the hosts.
    as_user : bool
        Do not make use of being root.
    """

    def __init__(self, folder: Path, as_user: bool = False) -> None:
        self.as_user = as_user
        self.folder = folder
        self.script = folder / "on-host"
        self.script.write_text(ON_HOST)
        self.script.chmod(0o755)
        self.namespace = None
        self.remaining: list[int] = []
        self.holder = subprocess.Popen(
            [*unshare_command(as_user), "sh", "-c", HOLDER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            self.close()
            raise RuntimeError("the two hosts could not be made")
        children = Path(
            f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        (self.inside,) = children.read_text().split()
        # While it is open, no other namespace gets its number.
        self.namespace = os.open(f"/proc/{self.inside}/ns/pid", os.O_RDONLY)

    def close(self) -> None:
        """Ends all that runs there. `remaining` has the processes that are still
        there a while later, and with them the namespaces: these end with the last
        process."""
        self.holder.kill()
        self.holder.wait()
        self.holder.stdin.close()
        self.holder.stdout.close()
        if self.namespace is not None:
            self.remaining = self.wait_for_end()
            os.close(self.namespace)
            self.namespace = None

    def wait_for_end(self, seconds: float = 60) -> list[int]:
        """The processes that are there when the time is over."""
        deadline = time.time() + seconds
        while True:
            found = [int(pid) for pid in os.listdir("/proc")
                     if pid.isdigit() and self.has(pid)]
            if not found or time.time() > deadline:
                return found
            time.sleep(0.05)

    def has(self, pid: str) -> bool:
        """Whether a process of this machine runs there."""
        try:
            there = os.stat(f"/proc/{pid}/ns/pid")
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self.namespace))

    def __enter__(self) -> TwoHosts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enter(self, *command: str) -> list[str]:
        """A command on the machine of both hosts."""
        user = ["--user", "--preserve-credentials"] if self.as_user else []
        return ["nsenter", "--target", self.inside, *user, "--net", "--mount",
                "--pid", f"--wd={self.folder}", *command]

    def on(self, host: str, *command: str) -> list[str]:
        """A command on one host."""
        return self.enter(str(self.script), host, "--exec", *command)

    def mpirun(self, *ranks: int, options: tuple[str, ...] = ()) -> list[str]:
        """The beginning of a job with so many ranks on each host."""
        slots = ",".join(f"{host}:{count}"
                         for host, count in zip(HOSTS, ranks))
        return self.on(
            HOSTS[0], "mpirun", "--allow-run-as-root", "--oversubscribe",
            "--mca", "plm_rsh_agent", str(self.script),
            "--mca", "oob_tcp_if_include", "moe0",
            "--mca", "btl_tcp_if_include", "moe0",
            "--mca", "pml", "ob1", "--bind-to", "none", *options,
            "--host", slots, "-n", str(sum(ranks)))

    def run(self, *command: str) -> str:
        """What a command on the machine of both prints."""
        return subprocess.run(self.enter(*command), check=True, text=True,
                              stdout=subprocess.PIPE, timeout=120).stdout

    def processes(self, host: str) -> dict[int, str]:
        """Names of the processes on a host, by their numbers there."""
        listed = self.run(
            "sh", "-c", f"for p in $(ip netns pids {host}); do "
            "echo $p $(cat /proc/$p/comm); done")
        return {int(line.split()[0]): line.split(maxsplit=1)[1]
                for line in listed.splitlines() if " " in line}

    def processes_with(self, host: str, file: str) -> set[str]:
        """Names of the processes on a host that have such a file in their memory."""
        listed = self.run(
            "sh", "-c", f"for p in $(ip netns pids {host}); do "
            f"grep -q {file} /proc/$p/maps && cat /proc/$p/comm; done; true")
        return set(listed.split())

    def kill(self, host: str, *names: str,
             number: signal.Signals = signal.SIGKILL) -> int:
        """Sends a signal to processes with one of these names, all if none are
        given. Returns to how many."""
        found = [pid for pid, name in self.processes(host).items()
                 if not names or name in names]
        if found:
            subprocess.run(self.enter("kill", f"-{int(number)}",
                                      *map(str, found)), check=False)
        return len(found)

    def set_link(self, state: str) -> None:
        """Pulls the cable ("down"), or plugs it in ("up")."""
        self.run("ip", "-n", HOSTS[1], "link", "set", "moe0", state)

    def left(self, seconds: float = 60) -> list[str]:
        """What of moe-run still runs on some host after a while. Daemons of
        mpirun survive faults of the network, and are its own."""
        deadline = time.time() + seconds
        while True:
            found = [f"{host}: {name}" for host in HOSTS
                     for name in self.processes(host).values()
                     if name.startswith("moe-")]
            if not found or time.time() > deadline:
                return found
            time.sleep(0.1)
