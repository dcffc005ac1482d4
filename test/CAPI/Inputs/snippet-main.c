/*===- snippet-main.c - Calls the example of docs/CAPI.md ---------*- C -*-===*\
|*                                                                            *|
|* Part of the moe-mlir project, under the Apache License v2.0 with LLVM      *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  setvbuf(stdout, NULL, _IONBF, 0);
  const char *modules[] = {"func.func @f() { return }", "mystery"};
  const char *names[] = {"good", "bad"};
  for (int i = 0; i < 2; ++i) {
    FILE *file = fopen(argv[i + 1], "wb");
    if (!file)
      return 2;
    printf("%s: %d\n", names[i], compileForHopper(modules[i], file));
    fclose(file);
  }
  return 0;
}
