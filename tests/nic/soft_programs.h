// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_SOFT_PROGRAMS_H_
#define SLUICE_TESTS_NIC_SOFT_PROGRAMS_H_

// Programs that nobody here wrote, started with the software verbs devices of a configuration.
//
//   const SoftPrograms programs("ibv_devinfo", "device soft0\n control @/soft0\n");   // @ is the test's folder
//   programs.Run("ibv_devinfo -d soft0");
//   programs.Tell("soft0", "cable pull");

#include <fstream>
#include <string>

#include "absl/strings/str_replace.h"
#include "tests/support/process.h"
#include "tests/support/skip.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {

class SoftPrograms {
 public:
  // Skips the test where the program is not installed.
  SoftPrograms(const std::string& program, const std::string& config) {
    if (!RunCommand("command -v " + program).ok()) {
      SkipTest(program + " is not installed: see cmake/packages.txt");
    }
    std::ofstream(file("conf")) << absl::StrReplaceAll(config, {{"@", folder_.path()}});
  }

  std::string file(const std::string& name) const { return folder_.file(name); }
  const std::string& folder() const { return folder_.path(); }

  std::string Command(const std::string& command) const {
    return "env TMPDIR=" + folder() + " " + SLUICE_SOFTVERBS_LAUNCHER + " " + file("conf") + " -- " + command;
  }
  CommandResult Run(const std::string& command, const Namespace* where = nullptr,
                    absl::Duration timeout = absl::Seconds(60)) const {
    return RunCommand(Command(command), where, timeout);
  }
  // To the control socket of that name in the folder.
  CommandResult Tell(const std::string& socket, const std::string& order) const {
    return RunCommand(std::string(SLUICE_SOFTVERBS_LAUNCHER) + " --tell " + file(socket) + " " + order);
  }

 private:
  TempFolder folder_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_SOFT_PROGRAMS_H_
