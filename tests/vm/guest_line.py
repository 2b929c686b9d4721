#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs commands in a guest of run_guest.sh, from a shell.

  guest_line.py hold SOCKET              listens at SOCKET for QEMU, and at SOCKET.run for commands, until it is ended
  guest_line.py run SOCKET SECONDS COMMAND
                                         runs a shell command, of one line, in the guest, writes what it wrote, and ends
                                         with its status; 124 when no answer comes in time, and the guest is then lost
"""
import os
import signal
import socket
import sys


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen()
    return listener


def answer(line):
    """What the guest said: its head, "STATUS LENGTH" and a newline, and as many bytes."""
    said = line.readline()
    if not said:
        raise EOFError("the guest is gone")
    return said + line.read(int(said.split()[1]))


def hold(path):
    guests, commands = listen(path), listen(path + ".run")
    guest = guests.accept()[0]
    line = guest.makefile("rb")
    while True:
        client = commands.accept()[0]
        with client, client.makefile("rb") as asked:
            guest.sendall(asked.readline())
            said = answer(line)
            try:
                client.sendall(said)
            except OSError:
                pass  # it waited no longer


def run(path, seconds, command):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(float(seconds))
    try:
        client.connect(path + ".run")
        client.sendall(command.encode() + b"\n")
        with client.makefile("rb") as line:
            head, _, output = answer(line).partition(b"\n")
    except (OSError, EOFError) as error:
        print(f"guest {path}: {command}: {error}", file=sys.stderr)
        return 124
    sys.stdout.buffer.write(output)
    return int(head.split()[0])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        sys.exit({"hold": hold, "run": run}[sys.argv[1]](*sys.argv[2:]))
    except EOFError as error:
        sys.exit(f"guest_line: {error}")
