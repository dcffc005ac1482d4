# RUN: rm -rf %t && mkdir %t && cd %t
# RUN: %python %s %moe_src/docs/RowToStore.md %moe_bin
# REQUIRES: python

"""Compares the IR in docs/RowToStore.md with what the compiler prints for the
page's module. `row-to-store.py PAGE BIN --update` writes it into the page:

  .venv/bin/python test/Docs/row-to-store.py docs/RowToStore.md build/bin --update

The block after a comment `snippet` is what lies from the first line (with
`last=1`: the last) that matches `from` to the next one that matches `to`, with
`before` lines in front. With `keep`, lines that do not match it are left out;
the stage says which command prints the text, and the page has to show that
command. Numbers of values, registers and blocks may differ."""

import pathlib
import re
import shlex
import subprocess
import sys
import textwrap

COMMANDS = {
    "memref": "moe-opt send.mlir --moe-to-cuda=chip=sm_80 "
              "--mlir-print-ir-before=convert-moe-to-symm -o /dev/null",
    "symm": "moe-compile send.mlir --target cuda:sm_80 --emit=symm -o -",
    "nvvm": "moe-opt send.mlir --moe-to-cuda=chip=sm_80 "
            "--mlir-print-ir-before=moe-serialize-kernels -o /dev/null",
    "ptx": "moe-compile send.mlir --target cuda:sm_80 --emit=ptx -o -",
}
SNIPPET = re.compile(r"<!-- snippet (.*?) -->\n```text\n(.*?)```\n", re.DOTALL)


def printed(command, tools):
    program, *args = shlex.split(command)
    result = subprocess.run([str(tools / program), *args], text=True, timeout=60,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            check=False)
    if result.returncode != 0:
        sys.exit(f"{command}: status {result.returncode}\n{result.stdout}")
    return result.stdout.splitlines()


def extract(lines, options):
    """The lines of a snippet, as they stand on the page."""
    first = [i for i, line in enumerate(lines) if re.search(options["from"], line)]
    if not first:
        sys.exit(f"nothing matches {options['from']} in\n" + "\n".join(lines))
    begin = first[-1 if "last" in options else 0]
    end = next((i for i in range(begin, len(lines))
                if re.search(options["to"], lines[i])), None)
    if end is None:
        sys.exit(f"nothing matches {options['to']} after {lines[begin]}")
    begin = max(0, begin - int(options.get("before", 0)))
    taken = [line.rstrip().replace("\t", "  ") for line in lines[begin:end + 1]]
    if "keep" in options:
        kept = []
        for line in taken:
            if re.search(options["keep"], line):
                kept.append(line)
            elif kept and kept[-1].strip() != "...":
                kept.append(re.match(r"\s*", line).group() + "...")
        taken = kept
    taken = [line for line in taken if "inline asm" not in line]
    return textwrap.dedent("\n".join(taken)) + "\n"


def canonical(snippet):
    """The snippet with its values, registers and blocks numbered anew: those
    numbers change with everything that comes before."""
    names = {}

    def rename(match):
        kind = match.group(1)
        same = [name for name in names if name.startswith(kind + " ")]
        return names.setdefault(f"{kind} {match.group(2)}", f"{kind}{len(same)}")

    return re.sub(r"((?:%[a-z_]*|\^bb|\$L__BB\d+_))(\d+)", rename, snippet)


def main():
    page, tools = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    update = "--update" in sys.argv
    text = page.read_text()
    module = re.search(r"^```mlir\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    source = pathlib.Path("send.mlir")
    source.write_text(module.group(1))
    shown = re.sub(r"\\\n\s*", "", text)
    output, wrong = {}, []

    def replace(match):
        options = {
            word.partition("=")[0]: word.partition("=")[2]
            for word in shlex.split(match.group(1))
        }
        stage = options["stage"]
        if stage not in output:
            if COMMANDS[stage] not in shown:
                sys.exit(f"the page does not show: {COMMANDS[stage]}")
            output[stage] = printed(COMMANDS[stage], tools.resolve())
        snippet = extract(output[stage], options)
        if canonical(snippet) == canonical(match.group(2)):
            return match.group()
        wrong.append(f"the page says\n{match.group(2)}\nbut it is\n{snippet}")
        return f"<!-- snippet {match.group(1)} -->\n```text\n{snippet}```\n"

    try:
        made, count = SNIPPET.subn(replace, text)
    finally:
        source.unlink()
    if not count:
        sys.exit("no snippet on the page")
    if update:
        page.write_text(made)
        print(f"{count} snippets, {len(wrong)} changed")
    elif wrong:
        sys.exit("\n".join(wrong) + "\nrow-to-store.py --update brings them up "
                 "to date; the text around them may need it, too")


main()
