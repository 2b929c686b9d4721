# SPDX-License-Identifier: Apache-2.0
"""No include points upward between layers, and a device's library is included in that device's folder only.

    layers.py ROOT      checks ROOT/include/sluice and ROOT/lib; prints each offence; status 1 when there is one
    layers.py --self    plants one offence of each kind in a made-up tree, and fails unless each is found
"""

import pathlib
import re
import sys
import tempfile

# Lowest first: a layer may include itself and what stands left of it.
LAYERS = ["base", "packet", "flow", "nic", "queue", "host", "service", "control"]

# Headers that only the folders beside them may include.
CONFINED = {
    r"(xdp|bpf)/": ["lib/nic/xdp/"],
    r"linux/(bpf|if_xdp)\.h": ["lib/nic/xdp/"],
    r"pcap(/pcap)?\.h": ["lib/nic/capture/"],
    r"infiniband/": ["lib/nic/verbs/", "lib/nic/softverbs/"],
    r"boost/asio": ["lib/nic/vhost/", "lib/control/"],
    r"boost/beast": ["lib/control/"],
    r"boost/json": ["lib/control/"],
    r"openssl/": ["lib/host/"],
    r"(catch2|gtest|benchmark)/": [],
    r"rte_": [],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]')


def layer_of_file(path):
    layer = path.removeprefix("include/sluice/").removeprefix("lib/").split("/")[0]
    return layer if layer in LAYERS else None


def layer_of_include(name):
    """The folder that names the layer in "sluice/nic/nic.h" or "nic/model/core_internal.h"; None for others' headers."""
    parts = name.removeprefix("sluice/").split("/")
    ours = name.startswith("sluice/") or parts[0] in LAYERS
    return parts[0] if ours and len(parts) > 1 else None


def offence(path, name):
    """Why the file at `path`, seen from the root, may not include `name`; None when it may."""
    own = layer_of_file(path)
    if own is None:
        return "is in no layer"
    if path.startswith("include/") and name.endswith("_internal.h"):
        return f"a public header includes the private {name}"
    other = layer_of_include(name)
    if other is not None and (other not in LAYERS or LAYERS.index(other) > LAYERS.index(own)):
        return f"{own} includes {name}, of the higher layer {other}"
    for pattern, folders in CONFINED.items():
        if re.match(pattern, name) and not any(path.startswith(folder) for folder in folders):
            return f"includes {name}, which belongs in {' or '.join(folders) or 'no part of the library'}"
    return None


def offences(root):
    files = [p for top in ("include/sluice", "lib") for p in sorted((root / top).rglob("*"))]
    for file in (p for p in files if p.suffix in (".h", ".cc")):
        path = file.relative_to(root).as_posix()
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            why = offence(path, match.group(1)) if match else None
            if why:
                yield f"{path}:{number}: {why}"


def self_check():
    allowed = {
        "include/sluice/nic/nic.h": '#include "sluice/packet/packet.h"\n#include <string>',
        "lib/nic/xdp/socket.cc": '#include <xdp/xsk.h>\n#include "nic/xdp/socket_internal.h"',
        "lib/control/json.cc": '#include <boost/json.hpp>\n#include "sluice/host/switch.h"',
    }
    refused = {
        "include/sluice/packet/up.h": '#include "sluice/nic/nic.h"',
        "lib/flow/up.cc": '  #  include "nic/model/core_internal.h"',
        "include/sluice/nic/private.h": '#include "nic/model/core_internal.h"',
        "lib/nic/model/bpf.cc": "#include <bpf/libbpf.h>",
        "lib/packet/json.cc": "#include <boost/json.hpp>",
        "lib/base/test.cc": "#include <catch2/catch.hpp>",
        "include/sluice/stray.h": "#include <string>",
    }
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for path, text in {**allowed, **refused}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text + "\n")
        found = {line.split(":")[0] for line in offences(root)}
    wrong = found.symmetric_difference(refused)
    for path in sorted(wrong):
        print(f"{path}: {'not found' if path in refused else 'refused without reason'}")
    return not wrong


def main():
    if sys.argv[1:] == ["--self"]:
        return 0 if self_check() else 1
    found = list(offences(pathlib.Path(sys.argv[1])))
    print("\n".join(found) or "no upward include")
    return 1 if found else 0


sys.exit(main())
