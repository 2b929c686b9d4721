#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints frames made by scapy, and how receive-side scaling hashes them by the fields that scapy reads.

    scapy_rss.py SEED BURSTS

Of each burst a line "burst", the key in hex and the indirection table, with commas; then 64 lines "frame", the frame in hex, and
for its outer and its inner headers what a card that hashes ports says, and one that hashes addresses only: "type:hash:queue".
"""
import random
import socket
import sys

from scapy_frames import IP, TCP, UDP, Ether, IPv6, IPv6ExtHdrFragment, Raw, ethernet, frame, packet

TUNNELS = ("VXLAN", "GENEVE", "GRE", "NSH", "MPLS")
BURST = 64


def toeplitz(key, data):
    """Bit i of the input, counted from the left, adds bits i to i + 31 of the key (Microsoft, "RSS Hashing Functions")."""
    bits, keyed = int.from_bytes(data, "big"), int.from_bytes(key, "big")
    hashed = 0
    for i in range(8 * len(data)):
        if bits >> (8 * len(data) - 1 - i) & 1:
            hashed ^= keyed >> (8 * len(key) - 32 - i) & 0xffffffff
    return hashed


def header_sets(built):
    """The layers of a frame up to its tunnel, and those in it, which are none without a tunnel."""
    sets = [[], []]
    layer, inside = Ether(built), 0
    while layer:
        inside |= type(layer).__name__ in TUNNELS
        sets[inside].append(layer)
        layer = layer.payload
    return sets


def is_fragment(layer):
    if isinstance(layer, IP):
        return layer.flags.MF or layer.frag != 0
    return isinstance(layer, IPv6ExtHdrFragment) and (layer.m or layer.offset != 0)


def tuple_of(layers):
    """Addresses, ports (none of a fragment: only the first has them), and the name of the type."""
    ip = next((layer for layer in layers if isinstance(layer, (IP, IPv6))), None)
    if ip is None:
        return b"", b"", "none"
    name, family = ("ipv4", socket.AF_INET) if isinstance(ip, IP) else ("ipv6", socket.AF_INET6)
    addresses = socket.inet_pton(family, ip.src) + socket.inet_pton(family, ip.dst)
    l4 = next((layer for layer in layers if isinstance(layer, (TCP, UDP))), None)
    if l4 is None or any(map(is_fragment, layers)):
        return addresses, b"", name
    return addresses, l4.sport.to_bytes(2, "big") + l4.dport.to_bytes(2, "big"), name + l4.name.lower()


def answers(layers, key, table):
    addresses, ports, name = tuple_of(layers)
    for data, kind in ((addresses + ports, name), (addresses, name[:4])):
        hashed = toeplitz(key, data)
        yield f"{kind}:{hashed}:{table[hashed % len(table)]}"


def made(rng):
    """Now and then a fragment, which scapy_frames has none of but atomic ones."""
    if rng.random() < 0.9:
        return frame(rng)
    whole = packet(rng)
    if isinstance(whole, IP):
        whole.flags, whole.frag = rng.choice([("MF", 0), ("MF", 8), ("", 8)])
        return ethernet(rng) / whole
    more, offset = rng.choice([(1, 0), (1, 8), (0, 8)])
    return ethernet(rng) / IPv6(src=whole.src, dst=whole.dst) / IPv6ExtHdrFragment(nh=17, m=more, offset=offset) / Raw(bytes(40))


def main():
    rng = random.Random(int(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        key = rng.randbytes(rng.choice([40, 52]))
        table = [rng.randrange(2**16) for _ in range(2**rng.randrange(0, 10))]
        print("burst", key.hex(), ",".join(map(str, table)))
        for _ in range(BURST):
            built = bytes(made(rng))
            outer, inner = header_sets(built)
            print("frame", built.hex(), *answers(outer, key, table), *answers(inner, key, table))


if __name__ == "__main__":
    main()
