#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Lists the tests that the last CTest run in a build folder skipped, each with the reason that it gave.
#
#   sh tests/skipped.sh build/release
set -eu
awk '/^[0-9]+\/[0-9]+ Test: / { sub("^[0-9/]+ Test: ", ""); name = $0 }
     /^SKIPPED: / { sub("^SKIPPED: ", ""); print "skipped: " name ": " $0 }' "$1/Testing/Temporary/LastTest.log"
