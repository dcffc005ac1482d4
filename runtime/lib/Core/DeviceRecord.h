//===- DeviceRecord.h - what a kernel recorded, as an error -----*- C++ -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_RUNTIME_LIB_CORE_DEVICERECORD_H
#define MOE_RUNTIME_LIB_CORE_DEVICERECORD_H

#include "moe-runtime/Manifest.h"

namespace moe::rt {

/// Code of a record, or MOERT_OK.
moert_code recordedCode(const moert_device_record *record);

/// Whether the record's other fields are there, too.
bool isRecordReady(const moert_device_record *record);

/// Makes kernels give up their waits, unless there is an error already.
void stopKernels(moert_device_record *record);

void clearRecord(moert_device_record *record);

/// The error of a record that is ready, in the words of errors that the host
/// finds. `lastSeen` says where the rank that was waited for is.
Status describeRecord(const moert_device_record &record,
                      const Manifest &manifest, double timeoutSeconds,
                      const std::string &lastSeen);

} // namespace moe::rt

#endif // MOE_RUNTIME_LIB_CORE_DEVICERECORD_H
