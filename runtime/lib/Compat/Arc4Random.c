/*===- Arc4Random.c - a function of glibc 2.36 --------------------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

/* The archives of libstdc++ and LLVM were compiled against glibc 2.36 and call
 * arc4random for seeds. With a definition of its own, a program runs on older
 * systems too. */

#include <stdint.h>
#include <sys/random.h>

__attribute__((visibility("hidden"))) uint32_t arc4random(void) {
  uint32_t value = 0;
  /* Fails only where the kernel has no such call; the callers then get a
   * constant seed, as they do where no source of randomness exists. */
  if (getrandom(&value, sizeof(value), 0) != sizeof(value))
    return 4;
  return value;
}
