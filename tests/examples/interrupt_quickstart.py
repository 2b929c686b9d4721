# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in the middle of the quickstart, as a terminal sends it: nothing that it made is left behind. Needs root.

    interrupt_quickstart.py
"""

import os
import pathlib
import signal
import subprocess
import tempfile
import time

QUICKSTART = pathlib.Path(__file__).resolve().parents[2] / "examples" / "quickstart.sh"
PATIENCE = 300  # seconds; it may have to build first


def processes_of(session):
    """Those that run; one that has ended and was not yet waited for is nobody's burden."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        state, _, _, its_session = text.rpartition(")")[2].split()[:4]
        if int(its_session) == session and state != "Z":
            found.append(text.split(")")[0])
    return found


def namespaces(pid):
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if line.startswith(f"sluice-qs-{pid}-")]


def wait_until(condition, patience):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def interrupt_at(words, *options):
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as output:
        script = subprocess.Popen(
            ["sh", QUICKSTART, *options], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, "TMPDIR": scratch},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        said = lambda: os.pread(output.fileno(), 1 << 20, 0).decode(errors="replace")
        wait_until(lambda: words in said() or script.poll() is not None, PATIENCE)
        assert script.poll() is None and namespaces(script.pid), said()
        os.killpg(script.pid, signal.SIGINT)
        os.killpg(script.pid, signal.SIGINT)  # impatient
        assert script.wait(timeout=30) == 130, (script.returncode, said())
        wait_until(lambda: not processes_of(script.pid), 5)
        assert not namespaces(script.pid), namespaces(script.pid)
        assert not os.listdir(scratch), os.listdir(scratch)
    print(f"interrupted at \"{words}\": nothing left behind")


for moment in ("== making the namespaces", "== ping", "TCP guest1 -> guest2"):
    interrupt_at(moment)
for moment in ("== booting the virtual machines", "guest1 has the queues"):
    interrupt_at(moment, "--vm")
