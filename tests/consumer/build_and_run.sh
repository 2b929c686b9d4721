#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds a program outside the tree against an installed sluice, and runs it: forward_one.cc as a CMake project or with
# pkg-config, or the program that the README shows.
#
#   build_and_run.sh <cmake|pkg-config|readme> <install prefix> <library folder under it> <C++ compiler>
set -eu
way=$1 prefix=$2 libraries=$2/$3 compiler=$4
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

build_by_pkg_config() {
  PKG_CONFIG_PATH=$libraries/pkgconfig
  export PKG_CONFIG_PATH
  # Flags are lists of words.
  # shellcheck disable=SC2046
  "$compiler" -std=c++20 "$1" -o program $(pkg-config --cflags --libs sluice) -Wl,-rpath,"$libraries"
}

cp "$here/CMakeLists.txt" "$here/forward_one.cc" "$here/../../README.md" "$work"
cd "$work"
case $way in
  cmake)
    cmake -S . -B build -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$compiler"
    cmake --build build
    ./build/forward_one
    ;;
  pkg-config)
    build_by_pkg_config forward_one.cc
    ./program
    ;;
  readme)
    awk '/^```cpp$/ { inside = 1; next } /^```$/ { exit } inside' README.md >first.cc
    build_by_pkg_config first.cc
    [ "$(./program)" = "32 packets" ]
    ;;
  *)
    echo "unknown way: $way" >&2
    exit 2
    ;;
esac
