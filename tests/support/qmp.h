// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_QMP_H_
#define SLUICE_TESTS_SUPPORT_QMP_H_

// The line on which a QEMU takes orders (QEMU's docs/interop/qmp-spec): its machine is moved, reset and given devices by it.
//
//   Qmp monitor(path);  // qemu-system-x86_64 ... -qmp unix:PATH,server=on,wait=off
//   monitor.Run("system_reset");
//   monitor.Run("device_del", {{"id", "dimm0"}});
//
// One thread at a time. Failures throw std::runtime_error with what QEMU says.

#include <boost/json.hpp>
#include <string>

namespace sluice::testing {

class Qmp {
 public:
  // Waits for a QEMU that is about to start.
  explicit Qmp(const std::string& path);
  ~Qmp();
  Qmp(const Qmp&) = delete;
  Qmp& operator=(const Qmp&) = delete;

  // Returns what the command does. Events are passed over: ask for the state that they are about.
  boost::json::value Run(const std::string& command, const boost::json::object& arguments = {});

 private:
  void Say(const std::string& line);
  boost::json::object Hear();

  const int line_;
  std::string heard_;  // and not understood yet: less than a line
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_QMP_H_
