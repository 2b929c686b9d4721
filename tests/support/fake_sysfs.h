// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_FAKE_SYSFS_H_
#define SLUICE_TESTS_SUPPORT_FAKE_SYSFS_H_

// A made-up /sys in a temporary folder, which goes away with it: machines that nobody here owns.
//
//   FakeSysfs sys;
//   sys.Write("devices/system/cpu/online", "0-3");
//   ReadTopology(sys.root());

#include <string>

namespace sluice::testing {

class FakeSysfs {
 public:
  FakeSysfs();
  ~FakeSysfs();
  FakeSysfs(const FakeSysfs&) = delete;
  FakeSysfs& operator=(const FakeSysfs&) = delete;

  const std::string& root() const { return root_; }

  // Paths are relative to the root; folders on the way are made.
  void Write(const std::string& path, const std::string& text);  // with the newline that the kernel ends with
  void Link(const std::string& path, const std::string& target);
  void Remove(const std::string& path);

  // The files of processors and nodes in the kernel's words.
  void Online(const std::string& cpus) { Write("devices/system/cpu/online", cpus); }
  void Core(const std::string& cpus);  // one core: its hyper-threads, as a list
  void Nodes(const std::string& nodes) { Write("devices/system/node/online", nodes); }
  void Node(int node, const std::string& cpus, const std::string& distances);

 private:
  std::string root_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_FAKE_SYSFS_H_
