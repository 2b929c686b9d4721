// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_sysfs.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "sluice/base/cpu_list.h"

namespace sluice::testing {

namespace fs = std::filesystem;

FakeSysfs::FakeSysfs() : root_((fs::temp_directory_path() / "sluice-sysfs-XXXXXX").string()) {
  if (mkdtemp(root_.data()) == nullptr) throw std::runtime_error("no temporary folder at " + root_);
}

FakeSysfs::~FakeSysfs() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

void FakeSysfs::Write(const std::string& path, const std::string& text) {
  const fs::path file = fs::path(root_) / path;
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text << '\n';
}

void FakeSysfs::Link(const std::string& path, const std::string& target) {
  const fs::path link = fs::path(root_) / path;
  fs::create_directories(link.parent_path());
  fs::create_directories(fs::path(root_) / target);
  fs::create_symlink(fs::path(root_) / target, link);
}

void FakeSysfs::Remove(const std::string& path) { fs::remove_all(fs::path(root_) / path); }

void FakeSysfs::Core(const std::string& cpus) {
  const std::vector<CpuId> siblings = ParseCpuList(cpus).value();
  for (const CpuId cpu : siblings) {
    Write(absl::StrCat("devices/system/cpu/cpu", cpu.value(), "/topology/thread_siblings_list"), cpus);
  }
}

void FakeSysfs::Node(int node, const std::string& cpus, const std::string& distances) {
  const std::string folder = absl::StrCat("devices/system/node/node", node);
  Write(folder + "/cpulist", cpus);
  Write(folder + "/distance", distances);
}

}  // namespace sluice::testing
