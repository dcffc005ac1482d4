// A module that does not show the failure is an error; nothing is written.

// RUN: not moe-reduce %s -reduction-tree='traversal-mode=0 test=%S/Inputs/drops-rows.sh test-arg=%moe_bin/moe-opt' \
// RUN:   | count 0

func.func @nothing() {
  return
}
