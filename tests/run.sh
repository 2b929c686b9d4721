#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds the library as it is shipped and the guest of the system tests, and runs every test that
# can run on this machine. Tests that cannot are listed with the reason. The exit status is CTest's.
#
#   sh tests/run.sh [ctest options]       as in: sh tests/run.sh -L packet
set -eu
cd "$(dirname "$0")/.."
sh cmake/install-packages.sh
cmake --preset release
cmake --build --preset release
sh tests/vm/build_guest.sh || true  # without it the tests that need a guest are skipped, and say so

status=0
ctest --preset release -j "$(nproc)" --output-log build/release/tests.log "$@" || status=$?
sh tests/skipped.sh build/release
grep 'tests passed,' build/release/tests.log
exit $status
