// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/headers.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "sluice/packet/flow_key.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {
namespace {

using Bytes = std::vector<uint8_t>;

template <typename T>
Bytes BytesOf(const T& value) {
  Bytes bytes(sizeof(T));
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

TEST_CASE("wire integers lie most significant byte first and read back as they were") {
  CHECK(BytesOf(Be16(0x1234)) == Bytes{0x12, 0x34});
  CHECK(BytesOf(Be24(0x123456)) == Bytes{0x12, 0x34, 0x56});
  CHECK(BytesOf(Be32(0x12345678)) == Bytes{0x12, 0x34, 0x56, 0x78});
  CHECK(BytesOf(Be64(0x0102030405060708)) == Bytes{1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(BytesOf(BigEndian<Ethertype>(Ethertype::kIpv6)) == Bytes{0x86, 0xdd});
  CHECK(Be16(0x1234).get() == 0x1234);
  CHECK(Be24(0xff123456).get() == 0x123456);
  CHECK(Be64(0x0102030405060708).get() == 0x0102030405060708);
  static_assert(Be32(7).get() == 7);
}

TEST_CASE("a MAC address reads its own text and refuses every other") {
  const MacAddress mac({0x02, 0x00, 0x5e, 0x10, 0xab, 0x01});
  CHECK(mac.ToString() == "02:00:5e:10:ab:01");
  CHECK(MacAddress::Parse("02:00:5E:10:aB:01").value() == mac);
  CHECK(mac.value() == 0x02005e10ab01);
  for (const char* text : {"", "02:00:5e:10:ab", "02:00:5e:10:ab:1", "02-00-5e-10-ab-01", "02:00:5e:10:ab:0g",
                           "02:00:5e:10:ab:01:", " 2:00:5e:10:ab:01", "020:0:5e:10:ab:01"}) {
    INFO(text);
    CHECK(MacAddress::Parse(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("a MAC address knows broadcast, multicast and local ones") {
  CHECK(MacAddress::Broadcast().is_broadcast());
  CHECK(MacAddress::Broadcast().is_multicast());
  CHECK(MacAddress({0x01, 0, 0x5e, 0, 0, 1}).is_multicast());
  CHECK_FALSE(MacAddress({0x01, 0, 0x5e, 0, 0, 1}).is_broadcast());
  CHECK_FALSE(MacAddress({0x02, 0, 0, 0, 0, 1}).is_multicast());
  CHECK(MacAddress({0x02, 0, 0, 0, 0, 1}).is_local());
  CHECK(MacAddress().is_zero());
}

TEST_CASE("IP addresses read their own text and refuse every other") {
  CHECK(Ipv4Address::Parse("192.0.2.1").value().ToString() == "192.0.2.1");
  CHECK(Ipv6Address::Parse("2001:DB8:0:0::1").value().ToString() == "2001:db8::1");
  CHECK(Ipv4Address::Parse("192.0.2.1").value().bytes() == std::array<uint8_t, 4>{192, 0, 2, 1});
  using absl::string_view;
  for (const string_view text : {string_view("1.2.3"), string_view("1.2.3.256"), string_view("1.2.3.4/8"),
                                 string_view("1.2.3.4\0x", 9), string_view("::1")}) {
    CHECK(Ipv4Address::Parse(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK_FALSE(Ipv6Address::Parse("1.2.3.4").ok());
  CHECK_FALSE(Ipv6Address::Parse("fe80::1%eth0").ok());
}

// Bytes written down by hand from the RFCs' drawings, apart from the structs.
TEST_CASE("the fields of the headers lie where the RFCs draw them") {
  const Bytes ipv4 = {0x46, 0x02, 0x01, 0x00, 0xab, 0xcd, 0x20, 0x05, 0x40, 0x11, 0x12, 0x34,
                      10,   0,    0,    1,    10,   0,    0,    2,    0,    0,    0,    0};
  const auto* ip = HeaderAt<Ipv4Header>(ipv4.data(), 0);
  CHECK(ip->version() == 4);
  CHECK(ip->header_length() == 24);
  CHECK(ip->total_length.get() == 256);
  CHECK(ip->more_fragments());
  CHECK(ip->fragment_offset() == 40);
  CHECK(ip->protocol == IpProtocol::kUdp);
  CHECK(ip->destination.ToString() == "10.0.0.2");

  const Bytes tcp = {0, 80, 1, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0x60, 0x12, 0xff, 0, 0xbe, 0xef, 0, 9};
  const auto* segment = HeaderAt<TcpHeader>(tcp.data(), 0);
  CHECK(segment->destination_port.get() == 256);
  CHECK(segment->header_length() == 24);
  CHECK(segment->flags == (TcpHeader::kSyn | TcpHeader::kAck));
  CHECK(segment->checksum.get() == 0xbeef);
}

TEST_CASE("the fields of tunnel headers lie where the RFCs draw them") {
  const Bytes geneve = {0x02, 0x40, 0x65, 0x58, 0, 0, 42, 0};
  CHECK(HeaderAt<GeneveHeader>(geneve.data(), 0)->options_length() == 8);
  CHECK(HeaderAt<GeneveHeader>(geneve.data(), 0)->vni.get() == 42);

  const Bytes gre = {0xb0, 0x00, 0x08, 0x00};
  CHECK(HeaderAt<GreHeader>(gre.data(), 0)->header_length() == 16);

  const Bytes nsh = {0x0f, 0xc6, 0x01, 0x03, 0, 0, 10, 255};
  CHECK(HeaderAt<NshHeader>(nsh.data(), 0)->header_length() == 24);

  const Bytes mpls = {0x00, 0x01, 0x01, 0x40};
  CHECK(HeaderAt<MplsLabel>(mpls.data(), 0)->label() == 16);
  CHECK(HeaderAt<MplsLabel>(mpls.data(), 0)->bottom());
}

}  // namespace
}  // namespace sluice
