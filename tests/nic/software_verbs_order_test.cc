// SPDX-License-Identifier: Apache-2.0
// Orders to a software verbs device through its control socket, as another process gives them.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <vector>

#include "base/unique_fd_internal.h"
#include "nic/softverbs/control_socket_internal.h"
#include "sluice/nic/software_verbs_config.h"
#include "tests/nic/soft_nic.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::RawPair;
using testing::SoftNic;
using testing::TempFolder;

struct Controlled {
  TempFolder folder;
  const std::string path = folder.file("soft0");
  SoftNic nic{{.control = path}};
  RawPair pair{nic};

  std::string Tell(const std::string& order) {
    const absl::StatusOr<std::string> answer = TellSoftwareVerbs(path, order);
    return answer.ok() ? *answer : std::string(answer.status().message());
  }
  ibv_port_state port() {
    ibv_port_attr attr{};
    return ibv_query_port(nic.context(), 1, &attr) == 0 ? attr.state : IBV_PORT_NOP;
  }
};

TEST_CASE("an order from outside pulls the cable, and plugs it in again") {
  Controlled device;
  CHECK(device.Tell("cable pull") == "");
  CHECK(device.port() == IBV_PORT_DOWN);
  CHECK(device.Tell("cable plug") == "");
  CHECK(device.port() == IBV_PORT_ACTIVE);
}

TEST_CASE("an order fails queues by number, and overruns completion queues by handle") {
  Controlled device;
  const std::string number = std::to_string(device.pair.qp()->qp_num);
  CHECK_THAT(device.Tell("show"), Catch::Contains("queue " + number + " sending"));
  CHECK(device.Tell("queue " + number + " error") == "");
  CHECK_THAT(device.Tell("queue all error"), Catch::Contains("no such queue"));
  CHECK(device.Tell("completions 1 overrun") == "");
  const std::string shown = device.Tell("show");
  CHECK_THAT(shown, Catch::Contains("queue " + number + " error") && Catch::Contains("of 256 overrun"));
}

TEST_CASE("faults that are ordered add up until they are taken back") {
  Controlled device;
  CHECK(device.Tell("fault send lose frame 2") == "");
  CHECK(device.Tell("fault send lose frame 3") == "");
  for (int i = 0; i < 4; ++i) REQUIRE(device.pair.Send(testing::UdpFrame({})) == 0);
  CHECK(device.nic.stats().drops[DropReason::kFault] == 2);
  CHECK(device.Tell("fault none") == "");
  CHECK(device.Tell("fault send lose 1") == "");
  REQUIRE(device.pair.Send(testing::UdpFrame({})) == 0);
  CHECK(device.nic.stats().drops[DropReason::kFault] == 3);
}

TEST_CASE("the card is pulled out by order") {
  Controlled device;
  CHECK(device.Tell("remove") == "");
  CHECK(device.pair.Send(testing::UdpFrame({})) == EIO);
  CHECK_THAT(device.Tell("show"), Catch::Contains("device soft0 removed"));
}

TEST_CASE("an order that is none is answered with what could be said") {
  Controlled device;
  CHECK_THAT(device.Tell("dance"), Catch::Contains("show, cable, fault, queue, completions or remove"));
  CHECK_THAT(device.Tell("cable cut"), Catch::Contains("cable pull | plug"));
  CHECK_THAT(device.Tell("fault send lose 2"), Catch::Contains("CHANCE|frame N"));
  CHECK_THAT(device.Tell("queue 65"), Catch::Contains("NUMBER|all error"));
  CHECK_THAT(device.Tell(std::string(1000, 'x')), Catch::Contains("show, cable"));
}

// Callers that are connected, and say nothing.
std::vector<UniqueFd> Mutes(const Controlled& device, size_t count) {
  std::vector<UniqueFd> mutes;
  while (mutes.size() < count) {
    mutes.emplace_back(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    device.path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    REQUIRE(connect(mutes.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  return mutes;
}

TEST_CASE("callers that go away without a word do not keep others from being heard") {
  Controlled device;
  for (int i = 0; i < 5; ++i) (void)Mutes(device, 20);
  CHECK_THAT(device.Tell("show"), Catch::Contains("device soft0"));
}

TEST_CASE("several callers are served at once, each when it orders") {
  Controlled device;
  const std::vector<UniqueFd> mutes = Mutes(device, kMostCallers - 1);
  CHECK(device.Tell("cable pull") == "");
  for (size_t i = mutes.size(); i-- > 0;) {
    const std::string order = "show";
    REQUIRE(send(mutes[i].get(), order.data(), order.size(), MSG_NOSIGNAL) > 0);
    std::string answer(kLongestAnswer, '\0');
    REQUIRE(recv(mutes[i].get(), answer.data(), answer.size(), 0) > 0);
    CHECK_THAT(answer, Catch::Contains("port down"));
  }
}

TEST_CASE("one caller too many is heard, and the one that was silent the longest let go") {
  Controlled device;
  const std::vector<UniqueFd> mutes = Mutes(device, kMostCallers);
  CHECK_THAT(device.Tell("show"), Catch::Contains("device soft0"));
  char none;
  CHECK(recv(mutes.front().get(), &none, 1, 0) == 0);
  CHECK(recv(mutes.back().get(), &none, 1, MSG_DONTWAIT) < 0);
}

TEST_CASE("a control socket of a device that lives is not taken over, one of a device that died is") {
  const TempFolder folder;
  const std::string path = folder.file("soft0");
  {
    const SoftNic first({.control = path});
    const auto second = SoftwareVerbs::Create({.name = "soft1", .control = path}, MakeNullWire());
    CHECK(absl::IsUnavailable(second.status()));
    CHECK_THAT(std::string(second.status().message()), Catch::Contains("a path of its own"));
  }
  CHECK(access(path.c_str(), F_OK) != 0);
  const int died = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  REQUIRE(bind(died, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  close(died);
  const SoftNic heir({.control = path});
  CHECK(TellSoftwareVerbs(path, "show").ok());
}

TEST_CASE("where nobody listens, or the path is a file, it is said") {
  const TempFolder folder;
  CHECK(absl::IsUnavailable(TellSoftwareVerbs(folder.file("nobody"), "show").status()));
  CHECK(absl::IsUnavailable(TellSoftwareVerbs(std::string(200, 'x'), "show").status()));
  std::ofstream(folder.file("text")) << "kept";
  CHECK_FALSE(SoftwareVerbs::Create({.control = folder.file("text")}, MakeNullWire()).ok());
  CHECK_FALSE(SoftwareVerbs::Create({.control = "/nowhere/soft0"}, MakeNullWire()).ok());
  CHECK(access(folder.file("text").c_str(), F_OK) == 0);
}

}  // namespace
}  // namespace sluice
