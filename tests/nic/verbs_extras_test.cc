// SPDX-License-Identifier: Apache-2.0
// What verbs ports know and use of mlx5 cards beyond verbs. There is no such card here: a library stands in for
// libmlx5, and the genuine one is asked only about devices that are not its own.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>

#include "nic/verbs/tx_internal.h"
#include "nic/verbs/verbs_nic_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/packet_pool.h"
#include "tests/nic/mlx5_port.h"
#include "tests/support/frames.h"

namespace sluice::testing {
namespace {

constexpr char kGenuine[] = "libmlx5.so.1";
constexpr const char* kUnloaded = SLUICE_MLX5_STAND_IN;  // it would answer, but nobody loaded it
constexpr std::array kExtras = {"direct receive",
                                "compressed completions",
                                "striding receive queues",
                                "tunnel offloads",
                                "lag ports",
                                "LRO"};

std::unique_ptr<PacketPool> Pool() {
  return *PacketPool::Create({.packets = 256, .huge_pages = HugePages::kOff});
}

QueueOptions SmallQueues(PacketPool& pool) {
  return {.tx_queues = 2, .rx_ring = 64, .tx_ring = 64, .pool = &pool};
}

TEST_CASE("a card that is no mlx5 one has none of their extras, each with the reason") {
  Mlx5Device card(kUnloaded);
  for (const char* name : kExtras) {
    const VerbsCapability told = card.Told(name);
    CHECK_FALSE(told.found);
    CHECK(told.detail == kUnloaded + std::string(" is not loaded, as it would be for an mlx5 device"));
  }
}

TEST_CASE("the genuine libmlx5 has the calls that are used, and disowns a software device") {
  void* const genuine = dlopen(kGenuine, RTLD_NOW | RTLD_NODELETE);  // it tells libibverbs of itself for good
  REQUIRE(genuine != nullptr);
  CHECK(dlsym(genuine, "mlx5dv_modify_qp_lag_port") != nullptr);
  CHECK(dlsym(genuine, "mlx5dv_create_qp") != nullptr);
  CHECK(dlsym(genuine, "mlx5dv_create_cq") != nullptr);
  CHECK(dlsym(genuine, "mlx5dv_create_wq") != nullptr);
  CHECK(dlsym(genuine, "mlx5dv_init_obj") != nullptr);
  for (const char* call : {"mlx5dv_devx_general_cmd", "mlx5dv_devx_qp_query", "mlx5dv_devx_obj_create",
                           "mlx5dv_devx_obj_destroy", "mlx5dv_create_flow_matcher",
                           "mlx5dv_destroy_flow_matcher", "mlx5dv_create_flow"})
    CHECK(dlsym(genuine, call) != nullptr);
  Mlx5Device card(kGenuine);
  for (const char* name : kExtras) {
    CHECK(card.Told(name).detail == "libmlx5.so.1 does not drive this device");
  }
  CHECK(ProblemOf(card.RefusalOf(1))->what == "libmlx5.so.1 does not drive this device");
  dlclose(genuine);
}

TEST_CASE("a verbs port tells the extras of its mlx5 card, and asks for no more") {
  Mlx5Library library;
  Mlx5Device card(library.path());
  CHECK(card.Told("compressed completions").detail == "up to 64 in one; not asked for");
  CHECK(card.Told("striding receive queues").detail ==
        "512 strides of 64 bytes in one request; not asked for");
  CHECK(card.Told("lag ports").detail == "2 to choose from");
  for (const char* name : {"direct receive", "compressed completions", "striding receive queues",
                           "tunnel offloads", "lag ports", "LRO"}) {
    CHECK(card.Told(name).found);
  }
  CHECK(library->fields == (MLX5DV_CONTEXT_MASK_CQE_COMPRESION | MLX5DV_CONTEXT_MASK_STRIDING_RQ |
                            MLX5DV_CONTEXT_MASK_TUNNEL_OFFLOADS | MLX5DV_CONTEXT_MASK_NUM_LAG_PORTS));
}

TEST_CASE("an extra that an mlx5 card lacks is told by the field that says so") {
  Mlx5Library library;
  library->tells = {};
  Mlx5Device card(library.path());
  CHECK(card.Told("direct receive").found);  // of that the library tells by having the calls
  CHECK(card.Told("compressed completions").detail == "cqe_comp_caps.max_num is 0");
  CHECK(card.Told("striding receive queues").detail == "striding_rq_caps has no raw packets");
  CHECK(card.Told("tunnel offloads").detail == "tunnel_offloads_caps is 0");
  CHECK(card.Told("lag ports").detail == "num_lag_ports is 0");
  for (const char* name :
       {"compressed completions", "striding receive queues", "tunnel offloads", "lag ports"})
    CHECK_FALSE(card.Told(name).found);
}

TEST_CASE("a libmlx5 that answers nothing leaves all missing, with its reason") {
  Mlx5Library library;
  library->drives = GENERATE(false, true);
  library->query_error = EIO;
  Mlx5Device card(library.path());
  const std::string reason = library->drives ? "mlx5dv_query_device: " + std::string(ErrnoText(EIO))
                                             : library.path() + std::string(" does not drive this device");
  for (const char* name : kExtras) {
    CHECK_FALSE(card.Told(name).found);
    CHECK(card.Told(name).detail == reason);
  }
}

TEST_CASE("a libmlx5 of before there was a choice of ports lacks that, and no more") {
  Mlx5Library library(SLUICE_MLX5_STAND_IN_OLD);
  Mlx5Device card(library.path());
  CHECK(card.Told("compressed completions").found);
  CHECK(card.Told("lag ports").detail == library.path() + std::string(" lacks mlx5dv_modify_qp_lag_port"));
  CHECK(card.Told("LRO").detail ==
        library.path() + std::string(" lacks calls of DEVX, or mlx5dv_create_flow"));
  CHECK(card.RefusalOf(1).code() == absl::StatusCode::kUnimplemented);
}

// The calls for a port of two queues that spreads VXLAN by what is inside.
std::vector<Mlx5StandIn::PairCall> PairsFor(Mlx5Device& card, Mlx5Library& library, absl::Status& installed) {
  const auto pool = Pool();
  const auto nic = card.OpenNic({});
  QueueOptions queues = SmallQueues(*pool);
  queues.rx_queues = 2;
  REQUIRE(nic->Start(queues) == absl::OkStatus());
  CHECK(library->pair_calls.empty());  // outside of tunnels, verbs will do
  installed = nic->InstallRule(*Rule::Parse("pattern ipv4 / udp dst is 4789 / vxlan / eth / ipv4 / tcp / end "
                                            "actions rss / end"))
                  .status();
  return library->pair_calls;
}

TEST_CASE("frames are spread by headers in tunnels over pairs with the tunnel offloads of mlx5 cards") {
  Mlx5Library library;
  Mlx5Device card(library.path());
  absl::Status installed;
  const auto calls = PairsFor(card, library, installed);
  CHECK(installed == absl::OkStatus());
  REQUIRE(calls.size() == 1);
  CHECK((calls[0].hash_fields & IBV_RX_HASH_INNER) != 0);
  CHECK(calls[0].fields == MLX5DV_QP_INIT_ATTR_MASK_QP_CREATE_FLAGS);
  CHECK(calls[0].flags == MLX5DV_QP_CREATE_TUNNEL_OFFLOADS);
}

TEST_CASE("an mlx5 card that refuses a pair with tunnel offloads refuses the rule, with its errno") {
  Mlx5Library library;
  library->pair_error = EOPNOTSUPP;
  Mlx5Device card(library.path());
  absl::Status installed;
  CHECK(PairsFor(card, library, installed).size() == 1);
  CHECK(ProblemOf(installed)->capability == "RSS by headers in tunnels");
  CHECK(ProblemOf(installed)->error_number == EOPNOTSUPP);
}

TEST_CASE("an mlx5 card without tunnel offloads is asked for pairs by verbs alone") {
  Mlx5Library library;
  library->tells.tunnel_offloads_caps = 0;
  Mlx5Device card(library.path());
  absl::Status installed;
  CHECK(PairsFor(card, library, installed).empty());
  CHECK(installed == absl::OkStatus());
}

TEST_CASE("a port of a bond that the card has not is refused with the reason and a remedy") {
  const absl::Status none = Mlx5Device(kUnloaded).RefusalOf(1);
  CHECK(none.code() == absl::StatusCode::kUnimplemented);
  CHECK(ProblemOf(none)->capability == "lag ports");
  CHECK_THAT(ProblemOf(none)->what, Catch::Contains("is not loaded"));
  CHECK(ProblemOf(none)->remedy == "set lag_port=0");
  Mlx5Library library;
  Mlx5Device card(library.path());
  CHECK(card.RefusalOf(2) == absl::OkStatus());
  const absl::Status beyond = card.RefusalOf(3);
  CHECK(beyond.code() == absl::StatusCode::kInvalidArgument);
  CHECK(ProblemOf(beyond)->remedy == "use 1 to 2");
}

TEST_CASE("each sending queue of a verbs port leaves by the port of the bond that was asked for") {
  Mlx5Library library;
  Mlx5Device card(library.path());
  const auto pool = Pool();
  const auto nic = card.OpenNic({.lag_port = 2});
  REQUIRE(nic->Start(SmallQueues(*pool)) == absl::OkStatus());
  REQUIRE(library->lag_calls.size() == 2);
  for (uint16_t i = 0; i < 2; ++i) {
    const Mlx5StandIn::LagCall& call = library->lag_calls[i];
    CHECK(call.pair == &nic->sender(QueueId(i)));
    CHECK(call.state == IBV_QPS_RTS);
    CHECK(call.port == 2);
  }
  const std::vector<ModeInForce> modes = nic->modes();
  const auto mode =
      std::find_if(modes.begin(), modes.end(), [](const auto& m) { return m.name == "lag-port"; });
  REQUIRE(mode != modes.end());
  CHECK(mode->active);
}

TEST_CASE("a verbs port that was asked for no port of a bond leaves that to the card") {
  Mlx5Library library;
  Mlx5Device card(library.path());
  const auto pool = Pool();
  const auto nic = card.OpenNic({});
  REQUIRE(nic->Start(SmallQueues(*pool)) == absl::OkStatus());
  CHECK(library->lag_calls.empty());
}

TEST_CASE("a card whose ports are no bond refuses at Start, and starts when it is left alone") {
  Mlx5Library library;
  library->lag_error = EOPNOTSUPP;
  Mlx5Device card(library.path());
  const auto pool = Pool();
  const auto nic = card.OpenNic({.lag_port = 1});
  const absl::Status refused = nic->Start(SmallQueues(*pool));
  CHECK(ProblemOf(refused)->capability == "lag ports");
  CHECK(ProblemOf(refused)->error_number == EOPNOTSUPP);
  CHECK_FALSE(nic->running());
  library->lag_error = 0;
  CHECK(nic->Start(SmallQueues(*pool)) == absl::OkStatus());
}

TEST_CASE("a sending queue that was mended leaves by its port again, or sends no more") {
  Mlx5Library library;
  Mlx5Device card(library.path());
  const auto pool = Pool();
  const auto port = card.Open();
  REQUIRE(port.ok());
  const VerbsPtr<ibv_mr> region(
      ibv_reg_mr((*port)->domain(), pool->region().data(), pool->region().size(), 0));
  VerbsLink link(**port);
  const VerbsAlarm alarm((*port)->context()->async_fd);
  VerbsTxQueue queue(QueueId(0), **port, link, {.lag_port = 1}, alarm);
  REQUIRE(queue.Open(SmallQueues(*pool), *region) == absl::OkStatus());
  const bool still_bond = GENERATE(true, false);
  library->lag_error = still_bond ? 0 : EOPNOTSUPP;
  queue.failure().Suspect();
  queue.Reclaim();
  REQUIRE(library->lag_calls.size() == 2);
  CHECK(library->lag_calls[1].state == IBV_QPS_RTS);
  Burst burst;
  burst.Push(MakePacket(*pool, UdpFrame({})));
  CHECK(queue.Send(burst) == 1);
  CHECK(queue.stats().drops[DropReason::kDeviceError] == (still_bond ? 0u : 1u));
  queue.Close();
}

}  // namespace
}  // namespace sluice::testing
