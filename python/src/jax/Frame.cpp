//===- Frame.cpp - reads a call of XLA's ----------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Frame.h"

#include <cstring>

using namespace moe::py;
namespace xla = moe::xla;

static bool typeOf(xla::DataType type, DLDataType &out) {
  switch (type) {
  case xla::DataType::Pred:
    out = {MOERT_DL_BOOL, 8, 1};
    return true;
  case xla::DataType::S8:
    out = {kDLInt, 8, 1};
    return true;
  case xla::DataType::S16:
    out = {kDLInt, 16, 1};
    return true;
  case xla::DataType::S32:
    out = {kDLInt, 32, 1};
    return true;
  case xla::DataType::S64:
    out = {kDLInt, 64, 1};
    return true;
  case xla::DataType::F16:
    out = {kDLFloat, 16, 1};
    return true;
  case xla::DataType::F32:
    out = {kDLFloat, 32, 1};
    return true;
  case xla::DataType::F64:
    out = {kDLFloat, 64, 1};
    return true;
  case xla::DataType::BF16:
    out = {kDLBfloat, 16, 1};
    return true;
  case xla::DataType::F8E5M2:
    out = {MOERT_DL_FLOAT8_E5M2, 8, 1};
    return true;
  case xla::DataType::F8E4M3FN:
    out = {MOERT_DL_FLOAT8_E4M3FN, 8, 1};
    return true;
  }
  return false;
}

bool XlaTensors::read(const xla::CallFrame &frame, DLDevice device,
                      int64_t numSkipped) {
  shapes.reserve(
      static_cast<size_t>(frame.arguments.size + frame.results.size));
  return read(frame.arguments, numSkipped, device, inputTensors, ins) &&
         read(frame.results, 0, device, outputTensors, outs);
}

bool XlaTensors::read(const xla::Arguments &list, int64_t begin,
                      DLDevice device, std::vector<DLTensor> &tensors,
                      std::vector<const DLTensor *> &out) {
  tensors.reserve(static_cast<size_t>(list.size));
  for (int64_t i = begin; i < list.size; ++i) {
    const auto &buffer = *static_cast<const xla::Buffer *>(list.values[i]);
    shapes.emplace_back(buffer.dims, buffer.dims + buffer.rank);
    DLTensor tensor{};
    tensor.data = buffer.data;
    tensor.device = device;
    tensor.ndim = static_cast<int32_t>(buffer.rank);
    tensor.shape = shapes.back().data();
    if (!typeOf(buffer.dtype, tensor.dtype))
      return false;
    tensors.push_back(tensor);
  }
  for (const DLTensor &tensor : tensors)
    out.push_back(&tensor);
  return true;
}

bool moe::py::readSite(const xla::Attributes &attributes, XlaSite &site) {
  int numFound = 0;
  for (int64_t i = 0; i < attributes.size; ++i) {
    std::string name(attributes.names[i]->data, attributes.names[i]->size);
    if (name == "exchange" &&
        attributes.types[i] == xla::AttributeType::Scalar) {
      const auto &value =
          *static_cast<const xla::Scalar *>(attributes.values[i]);
      if (value.dtype != xla::DataType::S64)
        return false;
      std::memcpy(&site.exchange, value.value, sizeof(site.exchange));
      ++numFound;
    } else if (attributes.types[i] == xla::AttributeType::String) {
      const auto &value =
          *static_cast<const xla::ByteSpan *>(attributes.values[i]);
      std::string text(value.data, value.size);
      if (name == "entry")
        site.entry = std::move(text);
      else if (name == "fingerprint")
        site.fingerprint = std::move(text);
      else
        continue;
      ++numFound;
    }
  }
  return numFound == 3;
}

xla::Error *moe::py::makeXlaError(const xla::Api *api, xla::ErrorCode code,
                                  const std::string &message) {
  auto args = argumentsFor<xla::ErrorCreateArgs>();
  args.message = message.c_str();
  args.code = code;
  return api->errorCreate(&args);
}

xla::ErrorCode moe::py::xlaCodeOf(moert_code code) {
  switch (code) {
  case MOERT_INVALID_ARGUMENT:
  case MOERT_INVALID_EXPERT:
  case MOERT_ABI_MISMATCH:
    return xla::ErrorCode::InvalidArgument;
  case MOERT_TIMEOUT:
    return xla::ErrorCode::DeadlineExceeded;
  case MOERT_OUT_OF_MEMORY:
    return xla::ErrorCode::ResourceExhausted;
  case MOERT_PEER_FAILED:
  case MOERT_COLLECTIVE_MISMATCH:
    return xla::ErrorCode::Aborted;
  case MOERT_CAPACITY_EXCEEDED:
  case MOERT_INVALID_COUNT:
    return xla::ErrorCode::OutOfRange;
  case MOERT_ASSERTION_FAILED:
    return xla::ErrorCode::FailedPrecondition;
  case MOERT_UNAVAILABLE:
    return xla::ErrorCode::Unavailable;
  default:
    return xla::ErrorCode::Internal;
  }
}

bool moe::py::answersMetadata(const xla::CallFrame &frame,
                              const xla::TypeId *stateType) {
  const xla::Extension *extension = frame.header.extensions;
  if (!extension || extension->type != xla::Extension::metadata)
    return false;
  xla::Metadata &metadata =
      *reinterpret_cast<const xla::MetadataExtension *>(extension)->metadata;
  metadata.version = {
      {sizeof(xla::ApiVersion), nullptr}, xla::apiMajor, xla::apiMinor};
  metadata.traits = 0;
  // An older XLA does not ask for the type of the state.
  if (metadata.size >= sizeof(xla::Metadata))
    metadata.stateType = stateType ? *stateType : xla::TypeId{0};
  return true;
}
