#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Flows made by scapy, whole and in segments, and scapy's judgement of frames.

    scapy_trains.py make SEED    one flow a line: name, the VLAN tag that the sender should ask for rather than put in
                                 (0 = none), the flow in one frame, then its segments; in hex, with tabs between
    scapy_trains.py judge        of each frame on standard input, a line of hex: its layers, or "wrong: " and why

What a segmenter does to headers is said here once more, by the RFCs: see train().
"""
import logging
import random
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import GRE, IP, TCP, UDP, Dot1AD, Dot1Q, Ether, IPv6, Raw  # noqa: E402
from scapy.contrib.geneve import GENEVE, GeneveOptions  # noqa: E402
from scapy.layers.vxlan import VXLAN  # noqa: E402

SEGMENTS = 10
MSS = 400
ETHERNET_IN_GRE = 0x6558

# Made anew by scapy for every frame that it judges.
COMPUTED = {IP: ["ihl", "len", "chksum"], IPv6: ["plen"], TCP: ["dataofs", "chksum"], UDP: ["len", "chksum"],
            GRE: ["chksum"], GENEVE: ["optionlen"]}


class Flow:
    """One end of a conversation, of which segment() makes frames."""

    def __init__(self, rng, ipv6, udp=False):
        self.ipv6, self.udp = ipv6, udp
        self.net = rng.randrange(1, 200)
        self.port = rng.randrange(49152, 65536)  # scapy takes what comes from a well-known port for that protocol
        self.id = rng.randrange(65536)
        self.sequence = rng.randrange(2**32)
        self.ttl = rng.randrange(2, 256)
        self.flags = rng.choice(["", "DF"])
        self.stamps = (rng.randrange(2**32), rng.randrange(2**32))

    def ip(self, i):
        if self.ipv6:
            return IPv6(src=f"2001:db8::{self.net}", dst="2001:db8::ffff", hlim=self.ttl, fl=self.net)
        return IP(src=f"10.0.0.{self.net}", dst="192.0.2.1", ttl=self.ttl, flags=self.flags, id=(self.id + i) % 2**16)

    def l4(self, i, last):
        if self.udp:
            return UDP(sport=self.port, dport=7)
        options = [("NOP", None), ("NOP", None), ("Timestamp", self.stamps)]
        return TCP(sport=self.port, dport=7, seq=(self.sequence + i * MSS) % 2**32, ack=1, flags="PA" if last else "A",
                   options=options)

    def segment(self, i, last, payload):
        return self.ip(i) / self.l4(i, last) / Raw(payload)


def ethernet(*tags):
    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    for n, tag in enumerate(tags):
        frame /= Dot1AD(vlan=tag) if n + 1 < len(tags) else Dot1Q(vlan=tag)
    return frame


def plain(flow, *tags):
    return lambda *segment: ethernet(*tags) / flow.segment(*segment)


def inside(outer, between, flow):
    """In a tunnel, whose outer IP header counts its packets as the inner one does."""
    return lambda i, *rest: ethernet() / outer.ip(i) / between / flow.segment(i, *rest)


def shapes(rng):
    """What is carried: a name, the tag to ask for, and a maker of segments."""
    for ipv6 in (False, True):
        name = "IPv6" if ipv6 else "IPv4"
        inner, outer = Flow(rng, ipv6), Flow(rng, rng.random() < 0.5)
        entropy = UDP(sport=outer.port, dport=4789)
        silent = UDP(sport=outer.port, dport=4789, chksum=0)
        vxlan = VXLAN(vni=rng.randrange(2**24), flags="Instance")
        options = [GeneveOptions(classid=0x102, type=1, data=rng.randbytes(4 * rng.randrange(1, 8)))]
        geneve = UDP(sport=outer.port, dport=6081) / GENEVE(vni=rng.randrange(2**24), options=options)
        yield f"TCP over {name}", 0, plain(inner)
        yield f"UDP over {name}", 0, plain(Flow(rng, ipv6, udp=True))
        yield f"TCP over {name}, tagged", 0, plain(inner, 100)
        yield f"TCP over {name}, tagged twice", 0, plain(inner, 200, 100)
        yield f"TCP over {name}, tagged on request", 100, plain(inner, 100)
        yield f"TCP over {name} in VXLAN", 0, inside(outer, entropy / vxlan / ethernet(), inner)
        yield f"UDP over {name} in VXLAN", 0, inside(outer, entropy / vxlan / ethernet(), Flow(rng, ipv6, udp=True))
        yield f"TCP over {name}, tagged, in VXLAN", 0, inside(outer, entropy / vxlan / ethernet(100), inner)
        yield f"TCP over {name} in VXLAN without checksum", 0, inside(Flow(rng, False), silent / vxlan / ethernet(), inner)
        yield f"TCP over {name} in Geneve", 0, inside(outer, geneve / ethernet(), inner)
        yield f"TCP over {name} in GRE", 0, inside(outer, GRE(), inner)
        yield f"TCP over {name} in GRE with a sum and a key", 0, inside(outer, GRE(chksum_present=1, key_present=1, key=7), inner)
        yield f"TCP over {name}, Ethernet in GRE", 0, inside(outer, GRE(proto=ETHERNET_IN_GRE) / ethernet(), inner)


def train(rng, make):
    """The flow whole, and cut: PSH on the last segment, sequence and IPv4 ids counted on, each UDP segment a datagram."""
    payload = rng.randbytes(SEGMENTS * MSS - rng.randrange(MSS))
    parts = [payload[at:at + MSS] for at in range(0, len(payload), MSS)]
    return [make(0, True, payload)] + [make(i, i + 1 == len(parts), part) for i, part in enumerate(parts)]


def make(seed):
    rng = random.Random(seed)
    for name, asked, maker in shapes(rng):
        print("\t".join([name, str(asked)] + [bytes(frame).hex() for frame in train(rng, maker)]))


def layers_of(packet):
    while packet:
        yield packet
        packet = packet.payload


def judge(frame):
    """What scapy makes of the frame's own fields, with lengths and checksums computed by itself, is the frame."""
    packet = Ether(frame)
    names = [type(layer).__name__ for layer in layers_of(packet)]
    if not {"TCP", "UDP"} & set(names[-2:]):
        return f"wrong: no TCP or UDP inside {'/'.join(names)}"
    for layer in layers_of(packet):
        absent = isinstance(layer, UDP) and layer.chksum == 0
        for field in COMPUTED.get(type(layer), []):
            if not (absent and field == "chksum"):
                delattr(layer, field)
    again = bytes(packet)
    if again == frame:
        return "/".join(names)
    at = next((i for i, (a, b) in enumerate(zip(again, frame)) if a != b), min(len(again), len(frame)))
    return f"wrong: byte {at} of {'/'.join(names)}"


def main():
    if sys.argv[1] == "make":
        make(int(sys.argv[2]))
    else:
        for line in sys.stdin:
            print(judge(bytes.fromhex(line)))


if __name__ == "__main__":
    main()
