#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds forward_one.cc outside the tree against an installed sluice, and runs it.
#
#   build_and_run.sh <cmake|pkg-config> <install prefix> <library folder under it> <C++ compiler>
set -eu
way=$1 prefix=$2 libraries=$2/$3 compiler=$4
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

cp "$here/CMakeLists.txt" "$here/forward_one.cc" "$work"
cd "$work"
case $way in
  cmake)
    cmake -S . -B build -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$compiler"
    cmake --build build
    ./build/forward_one
    ;;
  pkg-config)
    PKG_CONFIG_PATH=$libraries/pkgconfig
    export PKG_CONFIG_PATH
    # Flags are lists of words.
    # shellcheck disable=SC2046
    "$compiler" -std=c++20 forward_one.cc -o forward_one $(pkg-config --cflags --libs sluice) -Wl,-rpath,"$libraries"
    ./forward_one
    ;;
  *)
    echo "unknown way: $way" >&2
    exit 2
    ;;
esac
