# ===- test_interface.py - XLA's binary interface is as declared -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""python/src/jax/XlaFfi.h against the header of the jaxlib that is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import jax.ffi
import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src" / "jax"

# Of structs: the name here and there, and of fields that are used: here and there.
HEADER = {"header.size": "struct_size", "header.extensions": "extension_start"}
STRUCTS = {
    ("ApiVersion", "XLA_FFI_Api_Version"): HEADER
    | {"major": "major_version", "minor": "minor_version"},
    ("ErrorCreateArgs", "XLA_FFI_Error_Create_Args"): HEADER
    | {"message": "message", "code": "errc"},
    ("ErrorDestroyArgs", "XLA_FFI_Error_Destroy_Args"): HEADER | {"error": "error"},
    ("Buffer", "XLA_FFI_Buffer"): HEADER
    | {"dtype": "dtype", "data": "data", "rank": "rank", "dims": "dims"},
    ("ByteSpan", "XLA_FFI_ByteSpan"): {"data": "ptr", "size": "len"},
    ("Scalar", "XLA_FFI_Scalar"): {"dtype": "dtype", "value": "value"},
    ("Arguments", "XLA_FFI_Args"): HEADER | {"size": "size", "types": "types", "values": "args"},
    ("Arguments", "XLA_FFI_Rets"): HEADER | {"size": "size", "types": "types", "values": "rets"},
    ("Attributes", "XLA_FFI_Attrs"): HEADER
    | {"size": "size", "types": "types", "names": "names", "values": "attrs"},
    ("CallFrame", "XLA_FFI_CallFrame"): HEADER
    | {"api": "api", "context": "ctx", "stage": "stage", "arguments": "args"}
    | {"results": "rets", "attributes": "attrs", "future": "future"},
    ("TypeId", "XLA_FFI_TypeId"): {"id": "type_id"},
    ("TypeInfo", "XLA_FFI_TypeInfo"): HEADER | {"deleter": "deleter"},
    ("Metadata", "XLA_FFI_Metadata"): {
        "size": "struct_size",
        "version": "api_version",
        "traits": "traits",
        "stateType": "state_type_id",
    },
    ("MetadataExtension", "XLA_FFI_Metadata_Extension"): {
        "base": "extension_base",
        "metadata": "metadata",
    },
    ("StateSetArgs", "XLA_FFI_State_Set_Args"): HEADER
    | {"context": "ctx", "stage": "stage", "type": "type_id", "state": "state"},
    ("StateGetArgs", "XLA_FFI_State_Get_Args"): HEADER
    | {"context": "ctx", "stage": "stage", "type": "type_id", "state": "state"},
    ("StreamGetArgs", "XLA_FFI_Stream_Get_Args"): HEADER | {"context": "ctx", "stream": "stream"},
    ("FutureCreateArgs", "XLA_FFI_Future_Create_Args"): HEADER | {"future": "future"},
    ("FutureSetAvailableArgs", "XLA_FFI_Future_SetAvailable_Args"): HEADER | {"future": "future"},
    ("FutureSetErrorArgs", "XLA_FFI_Future_SetError_Args"): HEADER
    | {"future": "future", "error": "error"},
    ("RunIdGetArgs", "XLA_FFI_RunId_Get_Args"): HEADER | {"context": "ctx", "runId": "run_id"},
    ("DeviceOrdinalGetArgs", "XLA_FFI_DeviceOrdinal_Get_Args"): HEADER
    | {"context": "ctx", "ordinal": "device_ordinal"},
}
FUNCTIONS = {
    "errorCreate": "Error_Create",
    "errorDestroy": "Error_Destroy",
    "streamGet": "Stream_Get",
    "stateSet": "State_Set",
    "stateGet": "State_Get",
    "futureCreate": "Future_Create",
    "futureSetAvailable": "Future_SetAvailable",
    "futureSetError": "Future_SetError",
    "runIdGet": "RunId_Get",
    "deviceOrdinalGet": "DeviceOrdinal_Get",
}
VALUES = {
    "Extension::metadata": "XLA_FFI_Extension_Metadata",
    "AttributeType::Scalar": "XLA_FFI_AttrType_SCALAR",
    "AttributeType::String": "XLA_FFI_AttrType_STRING",
    "Stage::Instantiate": "XLA_FFI_ExecutionStage_INSTANTIATE",
    "Stage::Execute": "XLA_FFI_ExecutionStage_EXECUTE",
}
VALUES |= {
    f"DataType::{name}": f"XLA_FFI_DataType_{name.upper()}"
    for name in ("Pred", "S8", "S16", "S32", "S64", "F16", "F32", "F64", "BF16")
}
VALUES |= {f"DataType::{name}": f"XLA_FFI_DataType_{name}" for name in ("F8E5M2", "F8E4M3FN")}
VALUES |= {
    f"ErrorCode::{ours}": f"XLA_FFI_Error_Code_{theirs}"
    for ours, theirs in {
        "DeadlineExceeded": "DEADLINE_EXCEEDED",
        "InvalidArgument": "INVALID_ARGUMENT",
        "ResourceExhausted": "RESOURCE_EXHAUSTED",
        "FailedPrecondition": "FAILED_PRECONDITION",
        "Aborted": "ABORTED",
        "OutOfRange": "OUT_OF_RANGE",
        "Internal": "INTERNAL",
        "Unavailable": "UNAVAILABLE",
    }.items()
}


def program(include: str) -> str:
    """C++ that compiles when all is where it is declared to be."""
    header = (Path(include) / "xla/ffi/api/c_api.h").read_text()
    lines = [
        '#include "XlaFfi.h"',
        '#include "xla/ffi/api/c_api.h"',
        "#define SAME(a, b) static_assert((a) == (b), #a)",
        "namespace ours = moe::xla;",
        "SAME(ours::apiMajor, XLA_FFI_API_MAJOR);",
        # Newer minor versions add to the ends of structs.
        'static_assert(ours::apiMinor <= XLA_FFI_API_MINOR, "minor version");',
    ]
    structs = dict(STRUCTS)
    # Its name until version 0.3, and since.
    old, new = "XLA_FFI_Extension_Base", "XLA_FFI_InternalExtension"
    extension = new if f"struct {new} {{" in header else old
    structs["Extension", extension] = {"size": "struct_size", "type": "type", "next": "next"}
    structs["Api", "XLA_FFI_Api"] = HEADER | {
        ours: f"XLA_FFI_{theirs}" for ours, theirs in FUNCTIONS.items()
    }
    for (ours, theirs), fields in structs.items():
        for mine, other in fields.items():
            lines.append(f"SAME(offsetof(ours::{ours}, {mine}), offsetof({theirs}, {other}));")
    lines += [f"SAME(int(ours::{ours}), int({theirs}));" for ours, theirs in VALUES.items()]
    for array in ("Buffer", "ByteSpan", "Scalar", "TypeId", "Arguments", "Attributes"):
        theirs = {"Arguments": "Args", "Attributes": "Attrs"}.get(array, array)
        lines.append(f"SAME(sizeof(ours::{array}), sizeof(XLA_FFI_{theirs}));")
    return "\n".join(lines) + "\n"


def test_layout_is_that_of_jaxlib(tmp_path):
    compiler = next(filter(shutil.which, ("c++", "clang++", "g++")), None)
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    source = tmp_path / "layout.cpp"
    source.write_text(program(jax.ffi.include_dir()))
    command = [compiler, "-std=c++17", "-fsyntax-only", "-Wno-invalid-offsetof", str(source)]
    command += [f"-I{SOURCES}", "-isystem", jax.ffi.include_dir()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_no_jax():
    code = "import sys, moe_mlir, moe_mlir.runtime, moe_mlir.exchange; print('jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
