#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How many instructions a 64-byte packet takes through an mlx5 card's descriptors, received and sent on in bursts of 32: by a
# verbs port of ours and the driver under it (libmlx5), and by DPDK's driver (net_mlx5). No card is needed: the drivers run
# over rings made up in memory (libmlx5_rings.c, dpdk_rings.c), our backend over calls that do nothing (port_turns.cc), and
# callgrind counts. A port that receives directly (VerbsNicOptions::direct_receive) reads rings made up in memory, too
# (hollow_card.cc), and needs libmlx5 for sending only. It says nothing of cycles, cache lines or PCIe.
#
#   sh benchmarks/mlx5/count.sh
#
# The drivers' private headers come from the sources of the installed packages, by apt-get into build/mlx5; nothing of them is
# in this tree. Where they cannot be had from there, name folders that have them: DPDK_SOURCE, RDMA_CORE_SOURCE. What is
# missing is said, and the rest counted.
set -eu
cd "$(dirname "$0")/../.."
here=benchmarks/mlx5
out=$PWD/build/mlx5
archives=/usr/lib/$(uname -m)-linux-gnu
mkdir -p "$out"
for tool in valgrind callgrind_annotate gcc dpkg-query; do
  command -v $tool >/dev/null || { echo "not counted: install $tool"; exit 1; }
done

# source_of <package> <its source>: prints the folder. Asks for exactly what is installed.
source_of() {
  version=$(dpkg-query -W -f '${source:Version}' "$1" 2>/dev/null) || return 1
  apt=$out/apt
  mkdir -p "$apt/lists/partial" "$apt/cache" "$out/sources"
  . /etc/os-release
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian" \
    "$VERSION_CODENAME main" >"$apt/list"
  set -- "$2" -o Dir::Etc::sourcelist="$apt/list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$apt/lists" \
    -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root
  source=$1
  shift
  [ -d "$out/sources/$source" ] || {
    [ -n "$(find "$apt/lists" -name '*Sources*')" ] || apt-get -qq "$@" update >&2 || return 1
    (cd "$out/sources" && apt-get -qq "$@" source --download-only "$source=$version" >&2) || return 1
    mkdir "$out/sources/$source"
    tar xf "$out/sources/$source"_*.orig.tar.* -C "$out/sources/$source" --strip-components=1
  }
  echo "$out/sources/$source"
}

# count <label> <functions and objects of the program itself> <program> <mode> [<its other argument>]
count() {
  profile=$out/profile
  packets=$(valgrind -q --tool=callgrind --collect-atstart=no --callgrind-out-file="$profile" "$3" "$4" ${5:+"$5"} 2>/dev/null |
    sed -n 's/^packets //p')
  [ -n "$packets" ] || { echo "$1: the program failed"; return; }
  callgrind_annotate --auto=no --threshold=100 "$profile" |
    awk -v own="$2" -v packets="$packets" -v label="$1" '
      /^ *[0-9,]+ \(/ && /:/ && $0 !~ own && $0 !~ /PROGRAM TOTALS/ { gsub(",", "", $1); sum += $1 }
      END { printf "%-44s %6.1f\n", label, sum / packets }'
}

echo "instructions a packet, received and sent"
{
  cmake -S . -B "$out/library" -DCMAKE_BUILD_TYPE=Release -DSLUICE_BUILD_TESTS=OFF -DSLUICE_BUILD_BENCHMARKS=OFF \
    -DSLUICE_BUILD_EXAMPLES=OFF ${CMAKE_ARGUMENTS:-}
  cmake --build "$out/library" --target sluice
} >&2
library=$(dirname "$(find "$out/library" -name 'libsluice.so' | head -1)")
# shellcheck disable=SC2046
g++ -std=c++20 -O2 -I. -Iinclude $here/port_turns.cc -o "$out/port_turns" -L"$library" -Wl,-rpath,"$library" -lsluice \
  $(pkg-config --libs libibverbs absl_status absl_statusor absl_strings absl_time)
for mode in plain extended; do
  count "sluice's verbs backend, $mode sends" '\[.*/port_turns\]' "$out/port_turns" $mode
done
g++ -std=c++20 -O2 -fPIC -shared -Wl,-soname,libmlx5.so.1 $here/hollow_card.cc -o "$out/hollow_card.so" -libverbs
for mode in direct compressed; do
  count "the same, receives $mode, extended sends" '\[.*/(port_turns|hollow_card.so)\]' "$out/port_turns" $mode \
    "$out/hollow_card.so"
done

if rdma=${RDMA_CORE_SOURCE:-$(source_of libibverbs-dev rdma-core)}; then
  includes=$out/rdma
  mkdir -p "$includes/kernel-abi" "$includes/infiniband"
  ln -sfn "$rdma/util" "$includes/util"
  ln -sfn "$rdma/ccan" "$includes/ccan"
  ln -sfn "$rdma/kernel-headers/rdma" "$includes/rdma"
  ln -sf "$rdma"/libibverbs/*.h "$rdma"/providers/mlx5/mlx5dv.h "$includes/infiniband/"
  for abi in ib_user_verbs mlx5-abi; do
    python3 "$rdma/buildlib/make_abi_structs.py" "$rdma/kernel-headers/rdma/$abi.h" "$includes/kernel-abi/$abi.h"
  done
  # What its cmake would find out.
  for word in HAVE_STATEMENT_EXPR HAVE_TYPEOF HAVE_BUILTIN_TYPES_COMPATIBLE_P HAVE_ISBLANK; do
    echo "#define $word 1"
  done >"$includes/config.h"
  major=$(dpkg-query -W -f '${Version}' libibverbs-dev | sed 's/[^0-9].*//')
  gcc -O2 -w -DSLUICE_RDMA_CORE="\"$major\"" -include config.h -I"$includes" -I"$rdma/providers/mlx5" \
    $here/libmlx5_rings.c -o "$out/libmlx5_rings" -l:libmlx5.a -l:libibverbs.a -lnl-route-3 -lnl-3 -lpthread
  for mode in plain extended; do
    count "libmlx5 under it, $mode sends" ':(Turn|Post|Poll|SendPlain|SendExtended|main) ' "$out/libmlx5_rings" $mode
  done
  count "libmlx5 under it, extended sends alone" ':(Turn|Post|Poll|SendPlain|SendExtended|main) ' "$out/libmlx5_rings" sends
else
  echo "libmlx5: not counted: the sources of rdma-core are not to be had; name a folder in RDMA_CORE_SOURCE"
fi

if dpdk=${DPDK_SOURCE:-$(source_of libdpdk-dev dpdk)}; then
  includes=$out/dpdk
  mkdir -p "$includes"
  # What meson would find out: which words libibverbs has.
  python3 - "$dpdk/drivers/common/mlx5/linux/meson.build" >"$includes/mlx5_autoconf.h" <<'EOF'
import os, re, sys
asked = re.compile(r"\[\s*'(HAVE_\w+)',\s*'([^']+)',\s*'([^']+)'(?:,\s*'([^']+)')?\s*\]")
for name, header, symbol, member in asked.findall(open(sys.argv[1]).read()):
    path = '/usr/include/' + header
    if os.path.exists(path) and re.search(r'\b%s\b' % re.escape(member or symbol), open(path).read()):
        print('#define', name, 1)
EOF
  set -- -I"$includes"
  for folder in drivers/net/mlx5 drivers/net/mlx5/linux drivers/common/mlx5 drivers/common/mlx5/linux drivers/bus/pci \
    drivers/bus/auxiliary lib/eal/linux/include lib/eal/x86/include lib/eal/include; do
    set -- "$@" -I"$dpdk/$folder"
  done
  for folder in "$dpdk"/lib/*/; do
    set -- "$@" -I"$folder"
  done
  # shellcheck disable=SC2046
  gcc -O2 -w -DALLOW_EXPERIMENTAL_API -DALLOW_INTERNAL_API "$@" $(pkg-config --cflags libdpdk) $here/dpdk_rings.c \
    -o "$out/dpdk_rings" -Wl,--whole-archive "$archives/librte_net_mlx5.a" -Wl,--no-whole-archive \
    $(pkg-config --libs libdpdk) -L"$(echo "$archives"/dpdk/pmds-*)" -lrte_common_mlx5 -lrte_bus_pci \
    -lrte_bus_auxiliary -lmlx5 -libverbs
  for mode in plain offloads; do
    count "DPDK's net_mlx5, sends $mode" ':(Turn|main) ' "$out/dpdk_rings" $mode
  done
else
  echo "net_mlx5: not counted: the sources of DPDK are not to be had; name a folder in DPDK_SOURCE"
fi
