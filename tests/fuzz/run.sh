#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes every target for a bounded time: sh tests/fuzz/run.sh [SECONDS each, default 20]
#
# Starts from tests/fuzz/corpus/NAME; new inputs of interest stay in build/fuzz/corpus/NAME for the next run. A finding is left
# in build/fuzz/findings and makes the script fail: give it a name, put it into tests/fuzz/corpus/NAME, and mend the code.
set -eu
seconds=${1:-20}
cd "$(dirname "$0")/../.."
if ! command -v clang++ >/dev/null; then
  echo "the fuzzers need clang with libFuzzer: install clang and libclang-rt-dev" >&2
  exit 1
fi
mkdir -p build
cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DSLUICE_BUILD_FUZZERS=ON -DSLUICE_BUILD_EXAMPLES=OFF -DSLUICE_BUILD_BENCHMARKS=OFF >build/fuzz-configure.log ||
  { cat build/fuzz-configure.log; exit 1; }
cmake --build build/fuzz --target fuzzers

mkdir -p build/fuzz/findings
status=0
for fuzzer in build/fuzz/tests/fuzz/*_fuzz; do
  name=$(basename "$fuzzer" _fuzz)
  mkdir -p "build/fuzz/corpus/$name"
  echo "--- $name for $seconds s"
  "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/findings/$name-" "build/fuzz/corpus/$name" "tests/fuzz/corpus/$name" \
    >"build/fuzz/$name.log" 2>&1 || { status=1; tail -n 60 "build/fuzz/$name.log"; continue; }
  grep -E '^Done|stat::number_of_executed_units|stat::peak_rss_mb' "build/fuzz/$name.log"
done
exit $status
