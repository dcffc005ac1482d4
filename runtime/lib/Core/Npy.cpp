//===- Npy.cpp - reading and writing .npy files ---------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe-runtime/Npy.h"

#include "CallFrame.h"
#include "NpyHeader.h"
#include "moe-runtime/FileSizeLimit.h"
#include "moe-runtime/MachineMemory.h"
#include "moe-runtime/UniqueFd.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/stat.h>
#include <unistd.h>

using namespace moe::rt;

static const char magic[] = "\x93NUMPY";
static constexpr size_t magicBytes = 6;
static constexpr size_t maxHeaderBytes = 1 << 20;

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

/// What numpy.save writes for the type.
static const char *descrOf(DType dtype) {
  switch (dtype) {
  case DType::F64:
    return "<f8";
  case DType::F32:
    return "<f4";
  case DType::F16:
    return "<f2";
  case DType::BF16:
    return "<V2";
  case DType::F8E4M3FN:
    return "<V1";
  case DType::F8E5M2:
    return "<f1";
  case DType::I64:
    return "<i8";
  case DType::I32:
    return "<i4";
  case DType::I16:
    return "<i2";
  case DType::I8:
    return "|i1";
  case DType::I1:
    return "|b1";
  }
  return "";
}

static Status checkDescr(const std::string &descr, DType expected) {
  // Byte order does not matter to one-byte types, and numpy writes opaque
  // types with either mark.
  std::string wanted = descrOf(expected);
  bool isSame = descr == wanted;
  if (!isSame && descr.size() == 3 && descr[0] != '>')
    isSame = descr.substr(1) == wanted.substr(1) &&
             (descr[0] == '|' || descr[0] == '<' || descr[0] == '=') &&
             (wanted[1] == 'V' || wanted[2] == '1');
  // An opaque byte can be either fp8 type.
  if (!isSame && expected == DType::F8E5M2)
    isSame = descr == "<V1" || descr == "|V1";
  if (isSame)
    return Status::ok();
  if (descr.size() > 1 && descr[0] == '>')
    return makeError(MOERT_INVALID_ARGUMENT,
                     "holds big-endian data ('%s'); only little-endian is read",
                     descr.c_str());
  return makeError(MOERT_INVALID_ARGUMENT,
                   "expected element type %s ('%s'), but the file holds '%s'",
                   dtypeName(expected), wanted.c_str(), descr.c_str());
}

//===----------------------------------------------------------------------===//
// Headers
//===----------------------------------------------------------------------===//

std::string moe::rt::npyHeader(DType dtype, const std::vector<int64_t> &shape) {
  std::string tuple = "(";
  for (size_t i = 0; i < shape.size(); ++i)
    tuple += (i ? ", " : "") + std::to_string(shape[i]);
  tuple += shape.size() == 1 ? ",)" : ")";
  std::string text = std::string("{'descr': '") + descrOf(dtype) +
                     "', 'fortran_order': False, 'shape': " + tuple + ", }";
  // numpy leaves room for the first extent to grow to 21 digits.
  if (!shape.empty()) {
    size_t digits = std::to_string(shape[0]).size();
    text.append(digits < 21 ? 21 - digits : 0, ' ');
  }
  // The data begins at a multiple of 64. Version 2.0 has a longer length.
  size_t lengthBytes = text.size() + 64 + 1 > UINT16_MAX ? 4 : 2;
  size_t before = magicBytes + 2 + lengthBytes;
  text.append(64 - (before + text.size() + 1) % 64, ' ');
  text += '\n';
  std::string header(magic, magicBytes);
  header += lengthBytes == 2 ? '\1' : '\2';
  header += '\0';
  for (size_t i = 0; i < lengthBytes; ++i)
    header += static_cast<char>(text.size() >> (8 * i) & 0xff);
  return header + text;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

DLTensor NpyArray::view() {
  DLTensor tensor{};
  tensor.data = data.data();
  tensor.device = {kDLCPU, 0};
  tensor.ndim = static_cast<int>(shape.size());
  tensor.dtype = toDLDataType(dtype);
  tensor.shape = shape.data();
  return tensor;
}

/// Reads exactly `bytes`; false at the end of the file, errno 0, or on error.
static bool readExactly(int fd, void *out, size_t bytes) {
  char *next = static_cast<char *>(out);
  while (bytes) {
    ssize_t got = ::read(fd, next, std::min(bytes, size_t(1) << 30));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      if (got == 0)
        errno = 0;
      return false;
    }
    next += got;
    bytes -= got;
  }
  return true;
}

static Status cannotRead() {
  if (errno == 0)
    return Status(MOERT_INVALID_ARGUMENT, "the file is truncated");
  return makeOsError(MOERT_IO, errno, "cannot read the file");
}

static Status readHeader(int fd, std::string &header) {
  unsigned char prefix[8] = {};
  if (!readExactly(fd, prefix, sizeof(prefix)) && errno)
    return cannotRead();
  if (std::memcmp(prefix, magic, magicBytes) != 0)
    return Status(MOERT_INVALID_ARGUMENT, "not a .npy file");
  if (prefix[6] < 1 || prefix[6] > 3 || prefix[7] != 0)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "unknown version %d.%d of the .npy format", prefix[6],
                     prefix[7]);
  unsigned char length[4] = {};
  if (!readExactly(fd, length, prefix[6] == 1 ? 2 : 4))
    return cannotRead();
  size_t bytes =
      length[0] | length[1] << 8 | length[2] << 16 | size_t(length[3]) << 24;
  if (bytes > maxHeaderBytes)
    return makeError(MOERT_INVALID_ARGUMENT,
                     "a header of %zu bytes is too long", bytes);
  header.resize(bytes);
  return readExactly(fd, header.data(), bytes) ? Status::ok() : cannotRead();
}

/// Reads the data piece by piece. Ranks of one machine read at the same time,
/// and memory counts as taken only when it is written to. So what is free is
/// looked at before each piece: too little is an error of a rank then, and not
/// the death of some process.
static Status readData(int fd, size_t bytes, std::vector<char> &data) {
  constexpr size_t pieceBytes = size_t(64) << 20;
  auto isTooMuch = [&](size_t free) {
    return makeError(MOERT_OUT_OF_MEMORY,
                     "the array needs %zu bytes of memory, but this machine, "
                     "or its container, has %zu free",
                     bytes, free);
  };
  size_t free = availableMemoryBytes();
  if (bytes > free)
    return isTooMuch(free);
  try {
    data.reserve(bytes);
  } catch (const std::bad_alloc &) {
    return makeError(MOERT_OUT_OF_MEMORY,
                     "the array needs %zu bytes of memory, which this process "
                     "cannot have, though %zu are free (ulimit -v?)",
                     bytes, free);
  }
  while (data.size() < bytes) {
    size_t at = data.size(), left = bytes - at;
    if (at && left > (free = availableMemoryBytes()))
      return isTooMuch(free + at);
    data.resize(at + std::min(left, pieceBytes));
    if (!readExactly(fd, data.data() + at, data.size() - at))
      return cannotRead();
  }
  return Status::ok();
}

static Status readArray(int fd, DType expected, const ShapeCheck &checkShape,
                        NpyArray &array) {
  struct stat info;
  if (fstat(fd, &info) != 0)
    return makeOsError(MOERT_IO, errno, "cannot read the file");
  if (!S_ISREG(info.st_mode))
    return Status(MOERT_IO, "not a regular file");
  std::string header;
  if (Status s = readHeader(fd, header); !s.isOk())
    return s;
  NpyHeaderParser parser(header);
  bool isParsed = parser.parse();
  if (parser.isStructured)
    return Status(MOERT_INVALID_ARGUMENT,
                  "holds an array of a structured type, whose elements have "
                  "fields; save a field as an array of its own");
  if (!isParsed)
    return Status(MOERT_INVALID_ARGUMENT, "malformed .npy header");
  if (Status s = checkDescr(parser.descr, expected); !s.isOk())
    return s;
  if (parser.fortranOrder && parser.shape.size() > 1)
    return Status(MOERT_INVALID_ARGUMENT,
                  "holds a Fortran-order array; save it in C order "
                  "(numpy.ascontiguousarray)");
  std::optional<int64_t> count =
      countElements(parser.shape.data(), parser.shape.size());
  int64_t bytes = 0;
  off_t start = lseek(fd, 0, SEEK_CUR);
  if (!count ||
      __builtin_mul_overflow(*count, int64_t(dtypeBytes(expected)), &bytes))
    return Status(MOERT_INVALID_ARGUMENT, "the shape is too large");
  int64_t present = info.st_size - start;
  if (present != bytes)
    return makeError(
        MOERT_INVALID_ARGUMENT,
        "the file is %s: shape %s of %s needs %lld bytes of data, "
        "the file has %lld",
        present < bytes ? "truncated" : "too long",
        describeShape(parser.shape.data(), parser.shape.size()).c_str(),
        dtypeName(expected), (long long)bytes, (long long)present);
  std::string wrong = checkShape ? checkShape(parser.shape) : "";
  if (!wrong.empty())
    return Status(MOERT_INVALID_ARGUMENT, wrong);
  array.dtype = expected;
  array.shape = std::move(parser.shape);
  return readData(fd, size_t(bytes), array.data);
}

Expected<NpyArray> moe::rt::readNpy(const std::string &path, DType expected,
                                    const ShapeCheck &checkShape) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.isValid())
    return makeOsError(MOERT_IO, errno, "%s", path.c_str());
  NpyArray array;
  if (Status s = readArray(fd.get(), expected, checkShape, array); !s.isOk())
    return s.withPrefix(path);
  return array;
}

Status moe::rt::writeNpy(int fd, const std::string &name,
                         const DLTensor &tensor, DType dtype) {
  std::vector<int64_t> shape(tensor.shape, tensor.shape + tensor.ndim);
  std::string header = npyHeader(dtype, shape);
  size_t bytes = dtypeBytes(dtype) *
                 size_t(countElements(shape.data(), shape.size()).value_or(0));
  const char *data =
      static_cast<const char *>(tensor.data) + tensor.byte_offset;
  std::vector<char> packed;
  if (!isDense(tensor)) {
    packed.resize(bytes);
    packTensor(tensor, dtypeBytes(dtype), packed.data());
    data = packed.data();
  }
  FileSizeSignalBlock block;
  if (writeExactly(fd, header.data(), header.size()) &&
      writeExactly(fd, data, bytes))
    return Status::ok();
  return makeFileError(MOERT_IO, errno, "cannot write " + name);
}

Status moe::rt::writeNpy(const std::string &path, const DLTensor &tensor,
                         DType dtype) {
  UniqueFd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd.isValid())
    return makeOsError(MOERT_IO, errno, "cannot write %s", path.c_str());
  struct stat info;
  bool isRegular = fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode);
  Status status = writeNpy(fd.get(), path, tensor, dtype);
  // Some file systems report a full disk only now.
  if (::close(fd.release()) != 0 && status.isOk())
    status = makeOsError(MOERT_IO, errno, "cannot write %s", path.c_str());
  if (!status.isOk() && isRegular)
    (void)::unlink(path.c_str());
  return status;
}
