#===- worker.py - calls the entries of an artifact -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""worker.py LIBRARY BACKEND ARTIFACT IN OUT: a process of its own, which a
wrong entry may take along.

IN is a pickled {entry: [(type, shape, bytes), ...]}, OUT becomes one of the
results, or of the text of an error. OUT grows entry by entry.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "GPU"))

from moert import Context, Library, RuntimeError_, host_tensor  # noqa: E402

SECONDS = 60


def main() -> None:
    library, backend, artifact, source, target = sys.argv[1:]
    with open(source, "rb") as file:
        calls = pickle.load(file)
    context = Context(Library(library), 0, 1, lambda data, _: data, backend,
                      SECONDS)
    loaded = context.load(artifact)
    with open(target, "wb") as file:
        for name, tensors in calls.items():
            try:
                results = context.entry(loaded, name).call(
                    [host_tensor(*tensor) for tensor in tensors])
                answer = [context.read_result(result) for result in results]
                for result in results:
                    result.free()
            except RuntimeError_ as error:
                answer = str(error)
                context.reset()
            pickle.dump((name, answer), file)
            file.flush()
    context.destroy()


if __name__ == "__main__":
    main()
