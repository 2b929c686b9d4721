// SPDX-License-Identifier: Apache-2.0
// Drops that only the device knows of: as software verbs devices show them, and verbs ports read them.
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "nic/softverbs/counter_file_internal.h"
#include "nic/verbs/port_counter_internal.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

// The sysfs of a device with one port.
class Sysfs {
 public:
  explicit Sysfs(const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path()).parent_path());
    std::ofstream(path()) << text << "\n";
    std::strcpy(device_.ibdev_path, folder_.path().c_str());
    context_.device = &device_;
  }
  std::string path() const { return folder_.file("ports/1/hw_counters/out_of_buffer"); }
  VerbsPortCounter Counter() const { return VerbsPortCounter(context_, 1, "out_of_buffer"); }

 private:
  testing::TempFolder folder_;
  ibv_device device_{};
  ibv_context context_{};
};

TEST_CASE("what a software verbs device shows of its drops, a verbs port reads, from when it was opened") {
  const Sysfs sysfs(std::string(CounterFile::kDigits, '0'));
  CounterFile shown;
  shown.Open(sysfs.path());
  shown.Show(7);
  const VerbsPortCounter counter = sysfs.Counter();
  CHECK(counter.Added() == 0);
  shown.Show(12'345'678'907);
  CHECK(counter.Added() == 12'345'678'900);
}

TEST_CASE("a counter that is not there, or is no number, has counted nothing") {
  const Sysfs wrong("many");
  CHECK(wrong.Counter().Added() == 0);
  const Sysfs gone("5");
  const VerbsPortCounter counter = gone.Counter();
  std::filesystem::remove(gone.path());
  CHECK(counter.Added() == 0);
  CounterFile nowhere;
  nowhere.Open(gone.path());
  nowhere.Show(1);
  CHECK_FALSE(std::filesystem::exists(gone.path()));
}

TEST_CASE("a file that is too short for a counter is left as it is") {
  const Sysfs sysfs("0");
  CounterFile shown;
  shown.Open(sysfs.path());
  shown.Show(5);
  CHECK(sysfs.Counter().Added() == 0);
  CHECK(std::filesystem::file_size(sysfs.path()) == 2);
}

}  // namespace
}  // namespace sluice
