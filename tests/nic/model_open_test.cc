// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <string>

#include "sluice/base/status.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"

namespace sluice::testing {
namespace {

absl::Status OpenStatus(const ModelNicOptions& options) {
  return ModelNic::Open(options, MakeLoopWire()).status();
}

Problem ProblemOfOpen(const ModelNicOptions& options) {
  const std::optional<Problem> problem = ProblemOf(OpenStatus(options));
  REQUIRE(problem.has_value());
  CHECK_FALSE(problem->remedy.empty());
  return *problem;
}

TEST_CASE("what is asked of hardware that lacks it is refused by name") {
  ModelNicOptions options = {.name = "left", .hardware = ModelHardware::Poor()};
  SECTION("VLAN strip") {
    options.strip_vlan = true;
    CHECK(ProblemOfOpen(options).capability == "VLAN strip");
  }
  SECTION("receive checksums") {
    options.verify_checksums = true;
    CHECK(ProblemOfOpen(options).capability == "receive checksums");
  }
  SECTION("receive coalescing") {
    options.coalesce.emplace();
    CHECK(ProblemOfOpen(options).capability == "receive coalescing");
  }
  SECTION("timestamps") {
    options.stamp = true;
    CHECK(ProblemOfOpen(options).capability == "timestamps");
  }
  CHECK(OpenStatus(options).code() == absl::StatusCode::kUnimplemented);
  CHECK(ProblemOfOpen(options).device == "model left");
}

TEST_CASE("hardware that cannot be is refused") {
  ModelNicOptions options;
  SECTION("no receive queue") { options.hardware.max_rx_queues = 0; }
  SECTION("no transmit queue") { options.hardware.max_tx_queues = 0; }
  SECTION("more queues than the model has") { options.hardware.max_rx_queues = 65; }
  SECTION("a ring that is no power of two") { options.hardware.max_ring_size = 1000; }
  SECTION("frames shorter than Ethernet's") { options.hardware.max_frame = 59; }
  SECTION("an RSS table that is no power of two") { options.hardware.rss_table_size = 100; }
  SECTION("an RSS table larger than RssConfig's") { options.hardware.rss_table_size = 8192; }
  SECTION("dropping bad checksums that nobody looks for") { options.drop_bad_checksums = true; }
  SECTION("coalescing without a flow") { options.coalesce = CoalesceOptions{.flows = 0}; }
  SECTION("a table write before it was asked for") { options.table_write_delay.time = absl::Seconds(-1); }
  CHECK(OpenStatus(options).code() == absl::StatusCode::kInvalidArgument);
  ProblemOfOpen(options);
}

TEST_CASE("a model NIC without a wire is refused") {
  CHECK(ModelNic::Open({}, nullptr).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("capabilities are the hardware's, as far as the wire goes") {
  const auto nic = ModelNic::Open({.hardware = {.max_frame = 9000, .rss_update = false}},
                                  MakeLoopWire({.max_frame = 1514, .carries_fragments = false}));
  REQUIRE(nic.ok());
  const Capabilities& able = (*nic)->capabilities();
  CHECK(able.max_frame == 1514);
  CHECK_FALSE(able.fragments);
  CHECK_FALSE(able.rss_update);
  CHECK(able.sleeps);
  CHECK(able.send_l4_checksum);
  CHECK(able.segmentation);
  CHECK(able.coalescing);
  const auto poor = ModelNic::Open({.hardware = ModelHardware::Poor()}, MakeLoopWire({}));
  REQUIRE(poor.ok());
  CHECK_FALSE((*poor)->capabilities().segmentation);
  CHECK_FALSE((*poor)->capabilities().coalescing);
}

}  // namespace
}  // namespace sluice::testing
