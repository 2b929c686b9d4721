# SPDX-License-Identifier: Apache-2.0
"""Every file that can hold a comment says its licence in its first lines.

    spdx.py ROOT      checks the files of the tree, as git lists them, or all of them where there is no git
    spdx.py --self    plants a file without the line, and fails unless it is found
"""

import pathlib
import subprocess
import sys
import tempfile

LINE = b"SPDX-License-Identifier: Apache-2.0"

# JSON has no comments, LICENSE is the licence, and captures and fuzzer seeds are data.
EXEMPT_NAMES = {"LICENSE"}
EXEMPT_SUFFIXES = {".json", ".pcap", ".pcapng", ".bin", ".seed"}
EXEMPT_FOLDERS = ("build", ".git", ".cache", "tests/fuzz/corpus", "tests/fuzz/findings")


def files_of(root):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [root / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in root.rglob("*") if path.is_file()]


def exempt(root, path):
    relative = path.relative_to(root).as_posix()
    inside = any(relative.startswith(folder + "/") for folder in EXEMPT_FOLDERS)
    return inside or path.name in EXEMPT_NAMES or path.suffix in EXEMPT_SUFFIXES


def without_line(root):
    for path in files_of(root):
        if path.is_file() and not exempt(root, path) and LINE not in path.read_bytes()[:200]:
            yield path.relative_to(root).as_posix()


def self_check():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "said.cc").write_bytes(b"// " + LINE + b"\n")
        (root / "unsaid.sh").write_text("#!/bin/sh\n")
        (root / "LICENSE").write_text("the text\n")
        return list(without_line(root)) == ["unsaid.sh"]


def main():
    if sys.argv[1:] == ["--self"]:
        return 0 if self_check() else 1
    found = list(without_line(pathlib.Path(sys.argv[1]).resolve()))
    print("\n".join(f"{path}: no SPDX line" for path in found) or "every file says its licence")
    return 1 if found else 0


sys.exit(main())
