#!/bin/sh
# moe-reduce takes a module to be interesting when the test's status is not 0:
# here, as long as it is valid and has an op that may drop rows.
if "$1" "$2" 2>/dev/null | grep -q 'overflow<drop>'; then
  exit 1
fi
exit 0
