# SPDX-License-Identifier: Apache-2.0
"""What libsluice.so shows to the world: names of namespace sluice, and its SONAME.

    symbols.py LIBRARY SONAME    prints each symbol that should have stayed inside; status 1 when there is one
    symbols.py --self            tells made-up names apart, and fails when it gets one wrong
"""

import re
import subprocess
import sys

ABOUT = r"(typeinfo name for |typeinfo for |vtable for |VTT for |guard variable for |.*thunk to )?"
OURS = re.compile(rf"^{ABOUT}sluice::")


def allowed(name):
    return name == "SLUICE_0" or OURS.match(name) is not None


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def exported(library):
    for line in run("nm", "--dynamic", "--defined-only", "--demangle", library).splitlines():
        yield line.split(" ", 2)[2].split("@@")[0]


def soname(library):
    found = re.search(r"SONAME\s+(\S+)", run("objdump", "-p", library))
    return found.group(1) if found else None


def self_check():
    ours = ["sluice::Nic::Start()", "vtable for sluice::Nic", "typeinfo name for sluice::Nic", "SLUICE_0",
            "non-virtual thunk to sluice::A::B()"]
    theirs = ["std::vector<sluice::Nic*>::push_back(sluice::Nic*&&)", "boost::json::parse()", "urcu_bp_init",
              "vtable for absl::Thing"]
    return all(map(allowed, ours)) and not any(map(allowed, theirs))


def main():
    if sys.argv[1:] == ["--self"]:
        return 0 if self_check() else 1
    library, wanted = sys.argv[1:]
    names = list(exported(library))
    offences = [f"exported: {name}" for name in names if not allowed(name)]
    if not any(OURS.match(name) for name in names):
        offences.append("no sluice symbol is exported at all")
    if soname(library) != wanted:
        offences.append(f"SONAME is {soname(library)}, not {wanted}")
    print("\n".join(offences) or f"{len(names)} symbols, all of sluice; SONAME {wanted}")
    return 1 if offences else 0


sys.exit(main())
