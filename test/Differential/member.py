#===- member.py - one rank of a job of mpirun -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""member.py PLAN: joins the processes of the job, and calls one entry after
another as the plan says, a list of steps in JSON (jobs.py).

Writes the results of a step as .npy files, and then its answer, so that whoever
started the job knows how far each rank has come. The plan's last word is written
when the group has been left in good order: where this rank was.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from harness import UNTOUCHED, read_npy
from moe_mlir.runtime import Group, MoEError
from oracle import DTYPES


class Member:
    """A rank that has joined."""

    def __init__(self, group):
        self.group = group
        self.path = self.artifact = None

    def entry(self, path, name):
        """Of the only module that is loaded. Collective where that changes."""
        if self.path != path:
            if self.artifact:
                self.artifact.unload()
            self.path = self.artifact = None
            self.artifact, self.path = self.group.load(path), path
        return self.artifact[name]

    def argument(self, path, type_):
        data = read_npy(Path(path.format(rank=self.group.rank)),
                        DTYPES[type_.dtype])
        if not type_.symmetric:
            return data
        memory = self.group.empty(data.shape, type_.dtype)
        memory[...] = data
        return memory

    def call(self, step):
        """The results of the last of some calls."""
        entry = self.entry(step["module"], step["entry"])
        arguments = [
            self.argument(path, type_)
            for path, type_ in zip(step["inputs"], entry.arguments)
        ]
        for _ in range(step["times"]):
            results = entry(*arguments)
        if not isinstance(results, tuple):
            results = () if results is None else (results,)
        results = [np.array(result) for result in results]
        if step["into"] and not any(type_.symmetric for type_ in entry.results):
            for result in results:
                result.view(np.uint8)[...] = UNTOUCHED
            entry.into(results, *arguments)
        return results

    def answer(self, step):
        try:
            results = self.call(step)
        except MoEError as error:
            return {"code": error.code.name, "text": str(error)}
        for path, result in zip(step["outputs"], results):
            np.save(path.format(rank=self.group.rank), result)
        return {"code": None, "text": "OK"}

    def run(self, step):
        """Where an error is specified, another call tells ranks that were through
        already, and the group begins anew."""
        answers = [self.answer(step)]
        if step["fails"]:
            answers.append(self.answer(step))
            self.group.reset()
        write(step["answer"].format(rank=self.group.rank), answers)


def write(path, value):
    """A file that is there is there as a whole."""
    part = Path(f"{path}.part")
    part.write_text(json.dumps(value))
    part.rename(path)


def main():
    plan = json.loads(Path(sys.argv[1]).read_text())
    with Group.from_env(timeout=plan["timeout"]) as group:
        rank = group.rank
        member = Member(group)
        for step in plan["steps"]:
            member.run(step)
    # Whether rows went by MPI: nothing else loads its library.
    with_mpi = "/libmpi.so" in Path("/proc/self/maps").read_text()
    write(plan["end"].format(rank=rank),
          {"host": os.uname().nodename, "mpi": with_mpi})


if __name__ == "__main__":
    main()
