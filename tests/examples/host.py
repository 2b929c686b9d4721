# SPDX-License-Identifier: Apache-2.0
"""What the example host promises to who runs it, on ports that need no root.

    host.py PATH-OF-HOST
"""

import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time

import captures

HOST = os.path.abspath(sys.argv[1])
CAPTURE = "frames.pcap"
PATIENCE = 30  # seconds; only a test that fails waits so long


class Host:
    """A host that runs, until it has ended."""

    def __init__(self, *arguments, stdout=subprocess.PIPE):
        self.process = subprocess.Popen([HOST, *arguments], stdout=stdout, stderr=subprocess.PIPE)
        self.errors = b""
        while b"ready" not in self.errors and self.process.poll() is None:
            self.errors += self.process.stderr.readline()

    def end(self, how=signal.SIGTERM):
        """Its exit status, output and errors."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        out, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, (out or b"").decode(), (self.errors + errors).decode()


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def ends_cleanly_on(how):
    status, out, _ = Host("model:loop", f"pcap:{CAPTURE}").end(how)
    assert status == 0, status
    for part in ("model loop", "dropped at", "difference 0"):
        assert part in out, f"{part} is not in\n{out}"


def shows_a_live_table_on_a_terminal():
    ours, theirs = pty.openpty()
    host = Host("model:loop", stdout=theirs)
    os.close(theirs)
    shown = b""
    end = time.monotonic() + PATIENCE
    while shown.count(b"\x1b[H") < 2:  # drawn, and drawn again
        assert time.monotonic() < end, shown
        if select.select([ours], [], [], 1)[0]:
            shown += os.read(ours, 65536)
    assert b"model:loop" in shown and b"wakeups" in shown, shown
    assert host.end()[0] == 0
    os.close(ours)


def writes_json_on_request(folder):
    file = folder / "snapshot.json"
    host = Host("--snapshot-json", str(file), "model:loop", f"pcap:{CAPTURE}")
    host.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: file.exists() and file.read_text().endswith("\n"))
    asked = json.loads(file.read_text())
    assert [port["name"] for port in asked["ports"]] == ["model:loop", f"pcap:{CAPTURE}"], asked
    assert host.end()[0] == 0
    assert json.loads(file.read_text())["taken_ns"] > asked["taken_ns"]


def prints_json_at_its_end():
    host = Host("--json", "model:loop", f"pcap:{CAPTURE}")
    wait_for(lambda: b"link down" in host.process.stderr.readline())  # the end of the file
    status, out, _ = host.end()
    books = json.loads(out)["balance"]
    assert status == 0 and books["received"] >= 8 and books["difference"] == 0, out


def refuses(expected, *arguments):
    status, out, errors = Host(*arguments).end()
    assert status not in (0, None) and status > 0, (status, errors)
    assert out == "" or "--help" in out, out
    for part in expected:
        assert part in errors, f"{part} is not in\n{errors}"


def lives_with_a_capture_cut_in_half(folder):
    whole = pathlib.Path(CAPTURE).read_bytes()
    half = folder / "half.pcap"
    half.write_bytes(whole[: len(whole) // 2])
    host = Host("--json", "model:loop", f"pcap:{half}")
    wait_for(lambda: b"queue error" in host.process.stderr.readline())
    status, out, _ = host.end()
    told = json.loads(out)
    assert status == 0 and told["balance"]["difference"] == 0, out
    assert told["ports"][1]["rx"][0]["drops"] == {"malformed": 1}, out


def times_awake(pid):
    """How often its threads went to sleep of their own will."""
    total = 0
    for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        total += int(fields["voluntary_ctxt_switches"])
    return total


def sleeps_when_nothing_comes():
    host = Host("--mode", "adaptive", "--workers", "2", "model:loop", f"pcap:{CAPTURE}")
    time.sleep(0.5)  # the capture's frames
    before = times_awake(host.process.pid)
    time.sleep(1)  # the thing under test is time spent idle
    woken = times_awake(host.process.pid) - before
    assert woken < 100, f"woke {woken} times in a second"
    assert host.end()[0] == 0


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.chdir(folder)
        (folder / CAPTURE).write_bytes(captures.pcap([captures.udp(i) for i in range(1, 9)]))
        ends_cleanly_on(signal.SIGTERM)
        ends_cleanly_on(signal.SIGINT)
        shows_a_live_table_on_a_terminal()
        writes_json_on_request(folder)
        prints_json_at_its_end()
        refuses(["no-such-if", "no such interface", "ENODEV"], "xdp:no-such-if")
        refuses(["ftp:eth0", "give xdp:"], "ftp:eth0")
        refuses(["no/such/file", "ENOENT"], "pcap:no/such/file")
        refuses(["--workers"], "--workers", "0", "model:loop")
        refuses(["ports"])
        lives_with_a_capture_cut_in_half(folder)
        sleeps_when_nothing_comes()
    print("the host keeps its promises")


main()
