// SPDX-License-Identifier: Apache-2.0
// Two kernels that talk through a pair of model NICs on TAP wires: what the library passes on, they judge.
#include <catch2/catch.hpp>
#include <string>

#include "tests/nic/kernel_bridge.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {

TEST_CASE("kernels on TAP wires ping and copy a file through model NICs without one wrong checksum") {
  const bool poor = GENERATE(false, true);
  KernelBridge bridge({.right_is_tap = true, .hardware = poor ? ModelHardware::Poor() : ModelHardware{}});
  CHECK(bridge.left.Run("ping -c 3 -i 0.2 -s 1400 10.0.0.2").ok());

  TempFolder folder;
  const std::string file = folder.file("file");
  bridge.left.MustRun("head -c 4000000 /dev/urandom > " + file);
  const Process server =
      bridge.left.Start("python3 -u -m http.server --bind 10.0.0.1 8000 --directory " + folder.path());
  REQUIRE(server.WaitForOutput("Serving", absl::Seconds(20)));
  const std::string fetch =
      "python3 -c \"import urllib.request,sys; "
      "sys.stdout.buffer.write(urllib.request.urlopen('http://10.0.0.1:8000/file', timeout=60).read())\"";
  CHECK(bridge.right.MustRun(fetch + " | cmp - " + file + " && echo same") == "same\n");
  CHECK(bridge.WrongFrames() == 0);
  CHECK(bridge.Drops() == "");
}

}  // namespace sluice::testing
