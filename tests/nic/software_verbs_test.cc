// SPDX-License-Identifier: Apache-2.0
// The software verbs device through genuine libibverbs, in this process: found and described, memory.
#include "sluice/nic/software_verbs.h"

#include <infiniband/verbs.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>

#include "sluice/nic/pair_wire.h"
#include "tests/nic/soft_nic.h"

namespace sluice {
namespace {

using testing::Refusal;
using testing::SoftNic;

TEST_CASE("genuine libibverbs opens the device, which tells what its options say") {
  SoftNic nic({.name = "soft7", .mac = MacAddress({2, 0, 0, 0, 0, 0x30})});
  CHECK(std::string(ibv_get_device_name(nic.context()->device)) == "soft7");
  ibv_device_attr_ex attr{};
  REQUIRE(ibv_query_device_ex(nic.context(), nullptr, &attr) == 0);
  CHECK(be64toh(attr.orig_attr.node_guid) == 0x000000fffe000030);
  CHECK(attr.orig_attr.max_qp_wr == 32768);
  CHECK(attr.orig_attr.max_sge == 30);
  CHECK(attr.phys_port_cnt_ex == 1);
  CHECK((attr.raw_packet_caps & IBV_RAW_PACKET_CAP_IP_CSUM) != 0);
}

TEST_CASE("what poor hardware lacks is absent from its description") {
  SoftNic nic({.hardware = SoftwareVerbsHardware::Poor()});
  ibv_device_attr_ex attr{};
  REQUIRE(ibv_query_device_ex(nic.context(), nullptr, &attr) == 0);
  CHECK(attr.orig_attr.max_qp == 16);
  CHECK(attr.raw_packet_caps == 0);
  CHECK((attr.orig_attr.device_cap_flags & IBV_DEVICE_RAW_IP_CSUM) == 0);
}

TEST_CASE("an old program that asks for the short description gets no byte more") {
  SoftNic nic;
  struct {
    ibv_device_attr attr;
    uint64_t behind = 0x5a5a5a5a5a5a5a5a;
  } asked;
  REQUIRE(ibv_query_device(nic.context(), &asked.attr) == 0);
  CHECK(asked.attr.max_pkeys == 1);
  CHECK(asked.behind == 0x5a5a5a5a5a5a5a5a);
}

TEST_CASE("the port is an Ethernet port that is up, and the only one") {
  SoftNic nic({.mtu = 9000});
  ibv_port_attr port{};
  REQUIRE(ibv_query_port(nic.context(), 1, &port) == 0);
  CHECK(port.state == IBV_PORT_ACTIVE);
  CHECK(port.link_layer == IBV_LINK_LAYER_ETHERNET);
  CHECK(port.active_mtu == IBV_MTU_4096);
  CHECK(ibv_query_port(nic.context(), 0, &port) == EINVAL);
  CHECK(ibv_query_port(nic.context(), 2, &port) == EINVAL);
}

TEST_CASE("options that no device can have are refused with what to give instead") {
  const auto refusal = [](const SoftwareVerbsOptions& options) {
    return std::string(SoftwareVerbs::Create(options, MakeNullWire()).status().message());
  };
  CHECK_THAT(refusal({.name = "../x"}), Catch::Contains("letters, digits"));
  CHECK_THAT(refusal({.name = ""}), Catch::Contains("letters, digits"));
  CHECK_THAT(refusal({.mtu = 100}), Catch::Contains("256 to 65000"));
  CHECK_THAT(refusal({.mac = MacAddress::Broadcast()}), Catch::Contains("even"));
}

TEST_CASE("a protection domain stays as long as memory is registered in it") {
  SoftNic nic;
  std::array<uint8_t, 64> memory{};
  ibv_pd* const domain = ibv_alloc_pd(nic.context());
  REQUIRE(domain != nullptr);
  ibv_mr* const region = ibv_reg_mr(domain, memory.data(), memory.size(), IBV_ACCESS_LOCAL_WRITE);
  REQUIRE(region != nullptr);
  CHECK(ibv_dealloc_pd(domain) == EBUSY);
  CHECK(ibv_dereg_mr(region) == 0);
  CHECK(ibv_dealloc_pd(domain) == 0);
}

TEST_CASE("memory rights that contradict one another, or are unknown, are refused") {
  SoftNic nic;
  std::array<uint8_t, 64> memory{};
  const auto refusal = [&](int access) {
    return Refusal([&] { return ibv_reg_mr(nic.domain(), memory.data(), memory.size(), access); });
  };
  CHECK(refusal(IBV_ACCESS_REMOTE_WRITE) == EINVAL);
  CHECK(refusal(IBV_ACCESS_REMOTE_ATOMIC) == EINVAL);
  CHECK(refusal(1 << 19) == EINVAL);
  CHECK(refusal(IBV_ACCESS_ON_DEMAND | IBV_ACCESS_LOCAL_WRITE) == EOPNOTSUPP);
}

TEST_CASE("more regions than the hardware has are refused until one goes") {
  SoftwareVerbsHardware hardware;
  hardware.max_regions = 1;
  SoftNic nic({.hardware = hardware});
  std::array<uint8_t, 64> memory{};
  const auto make = [&] { return ibv_reg_mr(nic.domain(), memory.data(), memory.size(), 0); };
  ibv_mr* const first = make();
  REQUIRE(first != nullptr);
  CHECK(Refusal(make) == ENOMEM);
  const uint32_t key = first->lkey;
  CHECK(ibv_dereg_mr(first) == 0);
  ibv_mr* const second = make();
  REQUIRE(second != nullptr);
  CHECK(second->lkey != key);
  CHECK(ibv_dereg_mr(second) == 0);
}

TEST_CASE("what the device does not have answers EOPNOTSUPP") {
  SoftNic nic;
  ibv_srq_init_attr attr{};
  attr.attr.max_wr = attr.attr.max_sge = 1;
  CHECK(Refusal([&] { return ibv_create_srq(nic.domain(), &attr); }) == EOPNOTSUPP);
}

}  // namespace
}  // namespace sluice
