//===- Options.cpp - command line of moe-run ------------------------------===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

using namespace moe::run;

const char *moe::run::usage() {
  return R"(usage: moe-run [options] FILE.so|FILE.mlir

Runs an entry of an artifact on several ranks. A .mlir file is compiled first
by the moe-compile beside this program. In a job of mpirun, mpiexec or srun
every process is one rank.

  -n RANKS          processes to start (default: what the artifact is for)
  --target TARGET   host or cuda, for a .mlir file with a chip if need be
                    (cuda:sm_80; else sm_90); default: what the artifact is
                    for, and host for a .mlir file
  --entry NAME      entry to run (default: the only one)
  --in PATH.npy     argument, once per argument, in order
  --out PATH.npy    where to write a result, in order; may be fewer
  --bench N         time N calls after the warm-up, each from the host until
                    its results are there
  --warmup N        untimed calls (default: 2 with --bench, else 0)
  --timeout S       seconds to wait for another rank (default: 20)
  --symm-reserve N  largest size of the symmetric heap of each rank, in bytes
                    or with K, M, G or T (powers of 1024; default: 32G). Takes
                    addresses, not memory
  --into            give memory for the results, every byte of which is 0xa5
                    before the first call, instead of taking what calls return
  --alone           start all ranks from this process, also in a job of mpirun
                    or srun
  --trace FILE      write when each phase of the timed calls began and ended on
                    each rank, as JSON for Perfetto or chrome://tracing; on
                    GPUs, whose phases run inside of kernels, each call
  --json            print one JSON document with timings and results
  --probe=json      print what this machine offers, and end
  --help            print this

"{rank}" in a path is replaced by the rank, except in that of a .mlir file,
which is compiled once for all ranks.
)";
}

/// What Linux gives a process on x86-64, less what else it needs.
static constexpr size_t largestReserveBytes = size_t(1) << 46;

static bool parseInt(const std::string &text, int low, int high, int &out) {
  char *end = nullptr;
  errno = 0;
  long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end || errno || value < low || value > high)
    return false;
  out = static_cast<int>(value);
  return true;
}

static bool parseSeconds(const std::string &text, double &out) {
  char *end = nullptr;
  out = std::strtod(text.c_str(), &end);
  return !text.empty() && !*end && std::isfinite(out) && out > 0 && out <= 1e6;
}

/// "64M" and the like. All ranks' heaps have to fit the addresses of a process.
static bool parseBytes(const std::string &text, size_t &out) {
  char *end = nullptr;
  errno = 0;
  unsigned long long value = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || text[0] < '0' || text[0] > '9' || errno)
    return false;
  const char *units = "KMGT";
  const char *unit = *end ? std::strchr(units, *end) : nullptr;
  if (*end && (!unit || end[1]))
    return false;
  int shift = unit ? 10 * static_cast<int>(unit - units + 1) : 0;
  if (value == 0 || value > (largestReserveBytes >> shift))
    return false;
  out = size_t(value) << shift;
  return true;
}

/// Applies one option that has a value. False when the value is wrong.
static bool applyOption(const std::string &name, const std::string &value,
                        Options &options, std::string &error) {
  bool isGood = true;
  if (name == "-n") {
    isGood = parseInt(value, 1, maxRanks, options.ranks);
  } else if (name == "--target") {
    options.target = value;
    isGood = value == "host" || value == "cuda" ||
             (value.rfind("cuda:", 0) == 0 && value.size() > 5);
  } else if (name == "--entry") {
    options.entry = value;
    isGood = !value.empty();
  } else if (name == "--in") {
    options.inputs.push_back(value);
    isGood = !value.empty();
  } else if (name == "--out") {
    options.outputs.push_back(value);
    isGood = !value.empty();
  } else if (name == "--trace") {
    options.trace = value;
    isGood = !value.empty();
  } else if (name == "--bench") {
    isGood = parseInt(value, 1, 1000000, options.bench);
  } else if (name == "--warmup") {
    isGood = parseInt(value, 0, 1000000, options.warmup);
  } else if (name == "--timeout") {
    isGood = parseSeconds(value, options.timeoutSeconds);
  } else if (name == "--symm-reserve") {
    isGood = parseBytes(value, options.symmReserveBytes);
  } else if (name == "--probe") {
    options.probe = true;
    isGood = value == "json";
  }
  if (!isGood)
    error = "invalid value '" + value + "' for " + name;
  if (!isGood && name == "--target" && value == "nccl")
    error += ": moe-compile --target nccl makes the artifact, and moe-run runs "
             "it with --target cuda";
  return isGood;
}

static bool takesValue(const std::string &name) {
  for (const char *known :
       {"-n", "--target", "--entry", "--in", "--out", "--trace", "--bench",
        "--warmup", "--timeout", "--symm-reserve", "--probe"})
    if (name == known)
      return true;
  return false;
}

std::string moe::run::backendOf(const std::string &target) {
  return target.substr(0, target.find(':'));
}

bool moe::run::parseOptions(int argc, char **argv, Options &options,
                            std::string &error) {
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i];
    if (arg == "--json") {
      options.json = true;
    } else if (arg == "--into") {
      options.into = true;
    } else if (arg == "--alone") {
      options.alone = true;
    } else if (arg == "--help" || arg == "-h") {
      options.help = true;
    } else if (arg.size() > 1 && arg[0] == '-') {
      size_t equals = arg.rfind("--", 0) == 0 ? arg.find('=') : arg.npos;
      std::string name = arg.substr(0, equals);
      if (!takesValue(name)) {
        error = "unknown option '" + arg + "'";
        return false;
      }
      std::string value;
      if (equals != arg.npos) {
        value = arg.substr(equals + 1);
      } else if (++i < argc) {
        value = argv[i];
      } else {
        error = name + " needs a value";
        return false;
      }
      if (!applyOption(name, value, options, error))
        return false;
    } else if (options.file.empty()) {
      options.file = arg;
    } else {
      error = "more than one file: '" + options.file + "' and '" + arg + "'";
      return false;
    }
  }
  if (options.file.empty() && !options.probe && !options.help) {
    error = "no file given";
    return false;
  }
  return true;
}

std::string moe::run::forRank(std::string path, int rank) {
  const std::string marker = "{rank}", number = std::to_string(rank);
  for (size_t at = path.find(marker); at != path.npos;
       at = path.find(marker, at + number.size()))
    path.replace(at, marker.size(), number);
  return path;
}

std::vector<std::string> moe::run::outputPaths(const Options &options,
                                               int rank) {
  std::vector<std::string> paths;
  for (const std::string &output : options.outputs)
    paths.push_back(forRank(output, rank));
  if (rank == 0 && !options.trace.empty())
    paths.push_back(options.trace);
  return paths;
}

bool moe::run::checkFile(const Options &options, int ranks,
                         std::string &error) {
  for (int rank = 0; rank < ranks; ++rank) {
    std::string path = forRank(options.file, rank);
    if (access(path.c_str(), R_OK) != 0) {
      error = path + ": " + std::strerror(errno);
      return false;
    }
  }
  return true;
}

bool moe::run::checkPaths(const Options &options, int ranks,
                          std::string &error) {
  if (!checkFile(options, ranks, error))
    return false;
  if (options.symmReserveBytes > largestReserveBytes / size_t(ranks)) {
    error = "--symm-reserve " + std::to_string(options.symmReserveBytes) +
            " is too much: " + std::to_string(ranks) + " ranks have room for " +
            std::to_string(largestReserveBytes / size_t(ranks)) + " bytes each";
    return false;
  }
  for (const std::string &input : options.inputs)
    for (int rank = 0; rank < ranks; ++rank) {
      std::string path = forRank(input, rank);
      if (access(path.c_str(), R_OK) != 0) {
        error = path + ": " + std::strerror(errno);
        return false;
      }
    }
  for (size_t i = 0; i < options.outputs.size(); ++i) {
    const std::string &output = options.outputs[i];
    if (ranks > 1 && output.find("{rank}") == output.npos) {
      error = "--out " + output + " needs {rank}: " + std::to_string(ranks) +
              " ranks cannot write to one file";
      return false;
    }
    for (size_t j = 0; j < i; ++j)
      if (output == options.outputs[j]) {
        error = "--out " + output + " is given twice";
        return false;
      }
    if (output == options.trace) {
      error = "--trace " + output + " is the file of an --out";
      return false;
    }
  }
  for (int rank = 0; rank < ranks; ++rank)
    for (const std::string &path : outputPaths(options, rank)) {
      struct stat info;
      if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
        error = path + ": exists and is not a regular file";
        return false;
      }
      size_t slash = path.rfind('/');
      std::string folder = slash == path.npos ? "." : path.substr(0, slash + 1);
      if (access(folder.c_str(), W_OK) != 0) {
        error = folder + ": " + std::strerror(errno);
        return false;
      }
    }
  return true;
}
