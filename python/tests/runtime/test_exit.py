# ===- test_exit.py - processes that end while threads run -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The end of a process does not depend on what its threads do.

Autograd's threads, and daemon threads of programs, may be in a call when the main thread
returns. They ask for the GIL when the interpreter has begun to end.
"""

import subprocess
import sys

import pytest

# The interpreter collects garbage when it has begun to end; this gives threads time.
SLOW_END = """
import threading, time
import moe_mlir as moe

class Late:
    def __init__(self, seconds=2):
        self.cycle, self.seconds = self, seconds
    def __del__(self, sleep=time.sleep):
        sleep(self.seconds)
"""

# The other rank never comes, so the call ends by itself, with an error.
IN_A_CALL = SLOW_END + """
alone, other = moe.Group.local(2, timeout=4)
threading.Thread(target=lambda: alone.empty(4, "f32"), daemon=True).start()
time.sleep(0.2)
Late(6)
"""

# Python code that the runtime calls, here an all-gather, comes back to C++ as well.
IN_AN_ALLGATHER = SLOW_END + """
def gather(mine, timeout):
    time.sleep(1)
    return mine

threading.Thread(
    target=lambda: moe.Group.from_allgather(0, 1, gather), daemon=True
).start()
time.sleep(0.2)
Late()
"""

# Memory and groups that nobody has closed.
AFTER_CALLS = """
import moe_mlir as moe

def main(group):
    kept.append(group)
    kept.append(group.empty(4, "f32"))

kept = []
moe.run_local(3, main)
"""


@pytest.mark.parametrize("program", [IN_A_CALL, IN_AN_ALLGATHER, AFTER_CALLS])
def test_processes_end_well(program):
    """Several at a time: what goes wrong at an end does so now and then."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(6)
    ]  # fmt: skip
    ended = [(process.communicate(timeout=60)[0], process.returncode) for process in started]
    # nanobind tells of objects that frames of such threads keep.
    assert [status for _, status in ended] == [0] * len(ended), ended
    assert not any("terminate" in said for said, _ in ended), ended
