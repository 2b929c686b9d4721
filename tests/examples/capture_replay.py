# SPDX-License-Identifier: Apache-2.0
"""What the example capture_replay tells of a capture and writes of it.

    capture_replay.py PATH-OF-CAPTURE_REPLAY
"""

import pathlib
import subprocess
import sys
import tempfile

import captures

REPLAY = sys.argv[1]


def replay(folder, content):
    (folder / "in").write_bytes(content)
    (folder / "out").unlink(missing_ok=True)
    return subprocess.run([REPLAY, folder / "in", folder / "out"], capture_output=True, text=True, timeout=30)


def main():
    frames = [captures.tcp(1), captures.tcp(2), captures.udp(3), captures.arp(4), captures.tcp(5)[:30]]
    whole = captures.pcap(frames)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        done = replay(folder, whole)
        told = dict(line.rsplit(None, 1) for line in done.stdout.splitlines() if not line.startswith("queue"))
        assert done.returncode == 0, done
        assert told == {"TCP": "2", "UDP": "1", "ARP": "1", "truncated": "1", "written": "3"}, told
        written = (folder / "out").read_bytes()
        assert [one in written for one in frames] == [True, True, True, False, False]

        cut = replay(folder, whole[:-5])
        assert cut.returncode == 1 and "offset" in cut.stderr, cut
        assert (folder / "out").read_bytes().count(frames[0]) == 1

        refused = replay(folder, b"no capture at all, but long enough")
        assert refused.returncode == 1 and refused.stderr.count("\n") == 1, refused
    print("the captures are replayed as they should be")


main()
