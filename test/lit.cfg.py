"""Configuration of the lit suite; CMake sets the paths in lit.site.cfg.py."""

import os

import lit.formats
import lit.util
from lit.llvm import llvm_config
from lit.llvm.subst import ToolSubst

config.name = "moe-mlir"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test", ".py"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.moe_build_dir, "test")
# Differential, Entries, Install, Math and Messages are suites of their own in Python, GPU
# runs on GPUs; the rest is what tests read.
config.excludes = [
    "CMakeLists.txt",
    "Differential",
    "Entries",
    "GPU",
    "Inputs",
    "Install",
    "Math",
    "Messages",
    "lit.cfg.py",
    "lit.site.cfg.py",
]

bin_dir = os.path.join(config.moe_build_dir, "bin")
lib_dir = os.path.join(config.moe_build_dir, "lib")
# A test that hangs is a failed test, not a hung suite (lit needs psutil to
# end its processes).
if lit_config.maxIndividualTestTime == 0:
    lit_config.maxIndividualTestTime = 240

config.environment["FILECHECK_OPTS"] = (
    "-enable-var-scope --allow-unused-prefixes=false --dump-input=fail"
)
llvm_config.with_environment("PATH", [bin_dir, config.llvm_tools_dir], append_path=True)

roundtrip = "MOE_OPT_CHECK_IR_ROUNDTRIP" in os.environ
moe_opt = "moe-opt --verify-roundtrip" if roundtrip else "moe-opt"
if roundtrip:
    config.available_features.add("roundtrip")

config.substitutions += [
    ("%moe_src", config.moe_source_dir),
    ("%moe_lib", lib_dir),
    ("%moe_bin", bin_dir),
    (
        "%mlir_include",
        os.path.join(os.path.dirname(config.llvm_tools_dir), "include"),
    ),
    ("%cc", config.c_compiler),
    ("%cxx", config.cxx_compiler),
    ("%python", f'"{config.python}"'),
    ("%mpirun", config.mpirun),
]
# `lit -D partial=1` runs what can be run when only some tools are built.
missing = "ignore" if lit_config.params.get("partial") else "fatal"
llvm_config.add_tool_substitutions(
    [
        ToolSubst("moe-opt", command=f"{bin_dir}/{moe_opt}", unresolved="fatal"),
    ],
    [bin_dir],
)
llvm_config.add_tool_substitutions(
    [
        ToolSubst(name, unresolved=missing)
        for name in (
            "moe-capi-compile-test",
            "moe-capi-recovery-test",
            "moe-capi-test",
            "moe-compile",
            "moe-lsp-server",
            "moe-reduce",
            "moe-run",
        )
    ],
    [bin_dir],
)
llvm_config.add_tool_substitutions(
    [
        ToolSubst(name, unresolved="fatal")
        for name in ("FileCheck", "count", "mlir-opt", "not", "split-file")
    ],
    [config.llvm_tools_dir],
)

if os.path.exists(config.python):
    config.available_features.add("python")
if os.path.exists(config.mpirun):
    config.available_features.add("mpi")
# The assembler of the CUDA toolkit; PTX is tested without it, too.
ptxas = lit.util.which("ptxas") or "/usr/local/cuda/bin/ptxas"
if os.path.exists(ptxas):
    config.available_features.add("ptxas")
    config.substitutions.append(("%ptxas", ptxas))
