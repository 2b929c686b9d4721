# SPDX-License-Identifier: Apache-2.0
"""Small captures for the tests of the examples, without any library."""

import struct


def frame(ethertype, payload, last=1):
    return bytes([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, last]) + struct.pack("!H", ethertype) + payload


def ipv4(protocol, payload, last=1):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0,
                         bytes([10, 0, 0, last]), bytes([10, 0, 0, 9]))
    return frame(0x0800, header + payload, last)


def tcp(last=1):
    return ipv4(6, struct.pack("!HHIIBBHHH", 1000 + last, 80, 1, 0, 0x50, 0x10, 1024, 0, 0) + bytes(10), last)


def udp(last=1):
    return ipv4(17, struct.pack("!HHHH", 1000 + last, 53, 18, 0) + bytes(10), last)


def arp(last=1):
    return frame(0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + bytes(20), last)


def pcap(frames):
    """A pcap file of Ethernet frames a microsecond apart."""
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for i, one in enumerate(frames):
        parts += [struct.pack("<IIII", 1700000000, i, len(one), len(one)), one]
    return b"".join(parts)
