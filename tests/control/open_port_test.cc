// SPDX-License-Identifier: Apache-2.0
#include "sluice/control/open_port.h"

#include <catch2/catch.hpp>

#include "sluice/base/status.h"

namespace sluice {
namespace {

TEST_CASE("ports that need no device open by their text") {
  const std::string capture = std::string(SLUICE_SOURCE_DIR) + "/tests/fuzz/corpus/capture_file/pcapng";
  for (const std::string& text :
       {std::string("model:null"), std::string("model:loop"),
        std::string("shm:/tmp/sluice-test.sock,role=client"), std::string("tap:sluicetest0"),
        std::string("tap:sluicetest0,checksums=require,tso=off,uso=prefer"), std::string("packet:lo"),
        "pcap:" + capture + ",speed=2.5,loops=3"}) {
    INFO(text);
    const absl::StatusOr<std::unique_ptr<Nic>> nic = OpenPort(text);
    INFO(nic.status());
    REQUIRE(nic.ok());
    CHECK_FALSE((*nic)->running());
    CHECK_FALSE((*nic)->name().empty());
  }
}

TEST_CASE("a port is named after its kind and what it is on, once") {
  const std::string capture = std::string(SLUICE_SOURCE_DIR) + "/tests/fuzz/corpus/capture_file/pcapng";
  CHECK((*OpenPort("model:loop"))->name() == "model loop");
  CHECK((*OpenPort("packet:lo"))->name() == "model packet lo");
  CHECK((*OpenPort("pcap:" + capture))->name() == "capture " + capture);
}

TEST_CASE("a text that is no port is refused, naming the part and what could stand there") {
  struct Case {
    const char* text;
    const char* part;
  };
  for (const Case& bad :
       {Case{"", "\"\""}, Case{"eth0", "eth0"}, Case{"ftp:eth0", "ftp"}, Case{"xdp:", "xdp:"},
        Case{"xdp:eth0,zero-copy=maybe", "zero-copy=maybe"}, Case{"xdp:eth0,colour=red", "colour"},
        Case{"model:moon", "moon"}, Case{"shm:/tmp/x,role=king", "role=king"},
        Case{"tap:t0,tso=maybe", "tso=maybe"}, Case{"pcap:/tmp/x,loops=many", "loops=many"},
        Case{"rdma:mlx5_0/1,take=some", "take=some"}, Case{"rdma:mlx5_0/1,mac=me", "mac=me"},
        Case{"rdma:mlx5_0/1,marks=2", "marks=2"}, Case{"rdma:mlx5_0/1,extended=x", "extended=x"},
        Case{"rdma:mlx5_0/1,lag-port=a", "lag-port=a"}, Case{"rdma:mlx5_0/1,direct=x", "direct=x"},
        Case{"rdma:mlx5_0/1,compressed=x", "compressed=x"}, Case{"rdma:mlx5_0/1,striding=x", "striding=x"},
        Case{"rdma:mlx5_0/1,lro=x", "lro=x"}}) {
    INFO(bad.text);
    const absl::Status status = OpenPort(bad.text).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    REQUIRE(ProblemOf(status).has_value());
    CHECK(ProblemOf(status)->what.find(bad.part) != std::string::npos);
    CHECK_FALSE(ProblemOf(status)->remedy.empty());
  }
}

TEST_CASE("an interface or a device that is not there is said so") {
  const absl::Status status = OpenPort(GENERATE("xdp:sluicenone0", "rdma:sluicenone_0/1")).status();
  INFO(status);
  CHECK_FALSE(status.ok());
  REQUIRE(ProblemOf(status).has_value());
}

}  // namespace
}  // namespace sluice
