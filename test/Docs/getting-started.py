# RUN: rm -rf %t && mkdir %t && cd %t
# RUN: %python %s %moe_src/docs/GettingStarted.md %moe_src %moe_bin
# REQUIRES: python

"""Follows docs/GettingStarted.md: writes the files it shows, runs its commands
and compares what they print with what the page says."""

import os
import pathlib
import re
import subprocess
import sys


def blocks(section, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", section,
                      re.MULTILINE | re.DOTALL)


def main():
    page, source, tools = map(pathlib.Path, sys.argv[1:])
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page.read_text(),
                               re.MULTILINE | re.DOTALL))
    module, = blocks(sections["A first op"], "mlir")
    inputs, = blocks(sections["Run it"], "python")
    expected, = blocks(sections["Run it"], "text")
    pathlib.Path("first.mlir").write_text(module)
    pathlib.Path("make_inputs.py").write_text(inputs)
    pathlib.Path("build").symlink_to(tools.parent)

    python = pathlib.Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}:{python}:{os.environ['PATH']}"}
    printed = {}
    for title in ("A first op", "What becomes of it", "Run it",
                  "Use it from your own program"):
        for script in blocks(sections[title], "sh"):
            result = subprocess.run(
                ["sh", "-euc", script], env=environment, text=True, timeout=100,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if result.returncode != 0:
                sys.exit(f"{title}: status {result.returncode}\n{script}\n"
                         f"{result.stdout}")
            printed[title] = result.stdout

    if printed["Run it"] != expected:
        sys.exit(f"the page says\n{expected}\nbut it is\n{printed['Run it']}")
    for phase in re.findall(r'symm\.phase "\w+"', sections["What becomes of it"]):
        if phase not in printed["What becomes of it"]:
            sys.exit(f"no {phase} in\n{printed['What becomes of it']}")
    if "llvm.func" not in printed["Use it from your own program"]:
        sys.exit("mlir-opt with the plugin lowered nothing")


main()
