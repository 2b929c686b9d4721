#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints frames made by scapy, one a line: the frame in hex, a tab, and its layers as "name@offset", outermost first.

    scapy_frames.py SEED COUNT

Random mixtures of tags, addresses, options, extension headers, transports and tunnels; scapy fills lengths and checksums.
"""
import logging
import random
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import ARP, ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether, GRE, ICMPv6EchoRequest, IPv6, Raw  # noqa: E402
from scapy.all import IPOption_NOP, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting  # noqa: E402
from scapy.contrib.geneve import GENEVE, GeneveOptions  # noqa: E402
from scapy.contrib.mpls import MPLS  # noqa: E402
from scapy.contrib.nsh import NSH  # noqa: E402
from scapy.layers.vxlan import VXLAN  # noqa: E402

NAMES = {Ether: "eth", IP: "ipv4", IPv6: "ipv6", TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPv6EchoRequest: "icmpv6",
         ARP: "arp"}


def payload(rng):
    return Raw(rng.randbytes(rng.randrange(0, 200)))


def source_port(rng):
    """Of the dynamic ports (RFC 6335, 6): scapy takes what comes from a well-known one for that protocol."""
    return rng.randrange(49152, 65536)


def addressed(rng):
    """An IP header of either family, with options or extension headers, and whether it is IPv6."""
    if rng.random() < 0.5:
        options = [IPOption_NOP()] * (4 * rng.randrange(0, 4))
        return IP(src=f"10.0.0.{rng.randrange(256)}", dst="192.0.2.1", ttl=rng.randrange(1, 256), options=options), False
    header = IPv6(src=f"2001:db8::{rng.randrange(65536):x}", dst="2001:db8:ffff::1")
    if rng.random() < 0.3:
        header /= IPv6ExtHdrHopByHop()
    if rng.random() < 0.3:
        header /= IPv6ExtHdrDestOpt()
    if rng.random() < 0.2:
        header /= IPv6ExtHdrRouting(addresses=["2001:db8:ffff::1"], segleft=0)
    if rng.random() < 0.2:
        header /= IPv6ExtHdrFragment(offset=0, m=0, id=rng.randrange(2**32))
    return header, True


def transport(rng, ipv6):
    kind = rng.randrange(3)
    if kind == 0:
        options = [("NOP", None)] * (4 * rng.randrange(0, 6))
        return TCP(sport=source_port(rng), dport=80, seq=rng.randrange(2**32), options=options)
    if kind == 1:
        return UDP(sport=source_port(rng), dport=53)
    return ICMPv6EchoRequest(id=rng.randrange(65536)) if ipv6 else ICMP(id=rng.randrange(65536))


def packet(rng):
    header, ipv6 = addressed(rng)
    return header / transport(rng, ipv6) / payload(rng)


def ethernet(rng):
    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    tags = rng.randrange(0, 3)
    if tags == 2:
        frame /= Dot1AD(vlan=rng.randrange(4096))
    if tags > 0:
        frame /= Dot1Q(vlan=rng.randrange(4096), prio=rng.randrange(8))
    return frame


def labels(rng):
    stack = MPLS(label=rng.randrange(16, 2**20), s=1)
    return MPLS(label=rng.randrange(16, 2**20), s=0) / stack if rng.random() < 0.5 else stack


def tunnelled(rng):
    outer, _ = addressed(rng)
    port = source_port(rng)
    return rng.choice([
        lambda: outer / UDP(sport=port, dport=4789) / VXLAN(vni=rng.randrange(2**24), flags="Instance") / ethernet(rng) / packet(rng),
        lambda: outer / UDP(sport=port, dport=6081) / GENEVE(vni=rng.randrange(2**24), options=geneve_options(rng)) / ethernet(rng) / packet(rng),
        lambda: outer / GRE(chksum_present=rng.randrange(2), key_present=rng.randrange(2), seqnum_present=rng.randrange(2)) / packet(rng),
        lambda: outer / GRE(key_present=1, key=rng.randrange(2**32), proto=0x6558) / ethernet(rng) / packet(rng),
        lambda: labels(rng) / packet(rng),
        lambda: NSH(spi=rng.randrange(2**24), si=255) / ethernet(rng) / packet(rng),
    ])()


def geneve_options(rng):
    return [GeneveOptions(classid=0x102, type=1, data=rng.randbytes(4 * rng.randrange(0, 4))) for _ in range(rng.randrange(3))]


def frame(rng):
    kind = rng.randrange(10)
    if kind == 0:
        return ethernet(rng) / ARP(psrc="10.0.0.1", pdst="10.0.0.2")
    return ethernet(rng) / (packet(rng) if kind < 4 else tunnelled(rng))


def layers(built):
    """Where scapy's own dissection finds the layers of the bytes it built."""
    found = []
    layer = Ether(built)
    while layer:
        name = NAMES.get(type(layer))
        if type(layer).__name__.startswith("ICMPv6"):
            name = "icmpv6"
        offset = len(built) - len(layer.original)
        if name and not (name == "eth" and offset == 0):
            found.append(f"{name}@{offset}")
        layer = layer.payload
    return " ".join(found)


def main():
    rng = random.Random(int(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        built = bytes(frame(rng))
        print(f"{built.hex()}\t{layers(built)}")


if __name__ == "__main__":
    main()
