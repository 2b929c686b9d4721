// SPDX-License-Identifier: Apache-2.0
// Runs a verbs program that knows nothing of sluice with the software devices of a file
// (sluice/nic/software_verbs_config.h):
//
//   sluice-softverbs two-devices.conf -- ibv_devinfo -v
//   sluice-softverbs --tell /run/soft0.sock cable pull    # to a device of a program that runs
//
// Makes a sysfs in a temporary folder, in which libibverbs finds the devices, and links to /dev/null as their files under
// /dev/infiniband; names libsluice_soft-rdmav34.so as provider, and preloads it. Who may not make the links does without
// them: then the preloaded library alone brings the devices. All of it is gone at the end; the program's status is passed
// on.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nic/softverbs/counter_file_internal.h"
#include "nic/softverbs/interposed_calls_internal.h"
#include "sluice/nic/software_verbs_config.h"

namespace {

namespace fs = std::filesystem;
using sluice::SoftwareVerbsConfig;

constexpr char kDeviceFiles[] = "/dev/infiniband";
constexpr char kProviderFile[] = "libsluice_soft-rdmav34.so";
constexpr char kUsage[] =
    "usage: sluice-softverbs FILE -- PROGRAM [ARGUMENT...]\n"
    "       sluice-softverbs --tell SOCKET ORDER...\n";

void Write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text << "\n";
}

// "0200:00ff:fe00:0030", in groups of two bytes.
std::string Groups(const uint8_t* bytes, size_t n) {
  std::string text;
  for (size_t i = 0; i < n; i += 2) {
    absl::StrAppend(&text, i == 0 ? "" : ":", absl::Hex(bytes[i] << 8 | bytes[i + 1], absl::kZeroPad4));
  }
  return text;
}

// What libibverbs reads: class/infiniband_verbs has an entry for each device file, class/infiniband the devices.
class Sysfs {
 public:
  Sysfs() {
    std::string folder = fs::temp_directory_path() / "sluice-softverbs-XXXXXX";
    if (mkdtemp(folder.data()) != nullptr) root_ = folder;
  }
  ~Sysfs() {
    std::error_code ignored;
    for (const fs::path& link : links_) fs::remove(link, ignored);
    if (!links_.empty()) fs::remove(kDeviceFiles, ignored);  // the last one out, for it goes only when empty
    if (!root_.empty()) fs::remove_all(root_, ignored);
  }
  Sysfs(const Sysfs&) = delete;
  Sysfs& operator=(const Sysfs&) = delete;

  bool usable() const { return !root_.empty(); }
  const fs::path& root() const { return root_; }

  // False when the links to the device files cannot be made.
  bool Fill(const std::vector<SoftwareVerbsConfig>& devices) {
    Write(root_ / "class/infiniband_verbs/abi_version", "6");
    for (size_t i = 0; i < devices.size(); ++i) {
      const std::string file = absl::StrCat("uverbs-sluice-", getpid(), "-", i);
      if (!Link(file)) return false;
      Describe(devices[i], file);
    }
    return true;
  }

 private:
  bool Link(const std::string& file) {
    std::error_code failed;
    fs::create_directory(kDeviceFiles, failed);
    const fs::path link = fs::path(kDeviceFiles) / file;
    fs::create_symlink("/dev/null", link, failed);
    if (!failed) links_.push_back(link);
    return !failed;
  }

  void Describe(const SoftwareVerbsConfig& device, const std::string& file) {
    const fs::path verbs = root_ / "class/infiniband_verbs" / file;
    Write(verbs / "ibdev", device.options.name);
    Write(verbs / "dev", "1:3");  // of /dev/null, to which the file leads
    Write(verbs / "abi_version", "1");
    const std::array<uint8_t, 16> gid = sluice::SoftwareVerbsGid(device.options.mac);
    const fs::path own = root_ / "class/infiniband" / device.options.name;
    Write(own / "node_type", "1: CA");
    Write(own / "node_guid", Groups(gid.data() + 8, 8));
    const fs::path port = own / "ports/1";
    Write(port / "pkeys/0", "0xffff");
    Write(port / "hw_counters/out_of_buffer", std::string(sluice::CounterFile::kDigits, '0'));
    for (uint32_t i = 0; i < sluice::kSoftGids; ++i) {
      const std::array<uint8_t, 16> value = i == 0 ? gid : std::array<uint8_t, 16>{};
      Write(port / "gids" / std::to_string(i), Groups(value.data(), value.size()));
      Write(port / "gid_attrs/types" / std::to_string(i), "RoCE v2");
    }
  }

  fs::path root_;
  std::vector<fs::path> links_;
};

// Beside this program, as it is built, or where it is installed.
std::string FindProvider() {
  const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
  for (const fs::path& folder : {here, here / ".." / SLUICE_LIBRARY_FOLDER}) {
    if (fs::exists(folder / kProviderFile)) return fs::canonical(folder / kProviderFile);
  }
  return "";
}

void SetEnvironment(const std::string& config, const std::string& provider, const Sysfs& sysfs, bool files) {
  const std::string suffix = "-rdmav34.so";  // libibverbs puts it behind the name
  setenv(sluice::kSoftwareVerbsVariable, fs::absolute(config).c_str(), 1);
  const char* const others = std::getenv("LD_PRELOAD");
  setenv("LD_PRELOAD",
         absl::StrCat(provider, others == nullptr ? "" : ":", others == nullptr ? "" : others).c_str(), 1);
  if (!files) return;
  setenv("SYSFS_PATH", sysfs.root().c_str(), 1);
  setenv("RDMAV_DRIVERS", provider.substr(0, provider.size() - suffix.size()).c_str(), 1);
}

pid_t child = 0;
void PassOn(int number) { kill(child, number); }

// Signals that end a program wait while there are files of ours and nobody yet to pass them on to.
class EndingSignals {
 public:
  static constexpr int kPassedOn[] = {SIGTERM, SIGHUP};

  EndingSignals() {
    sigset_t held;
    sigemptyset(&held);
    for (const int number : kPassedOn) sigaddset(&held, number);
    sigaddset(&held, SIGINT);
    sigprocmask(SIG_BLOCK, &held, &before_);
  }
  void LetIn() const { sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// Its exit status, or 128 and the signal that ended it.
int Run(char** command, const EndingSignals& signals) {
  child = fork();
  if (child == 0) {
    signals.LetIn();
    execvp(command[0], command);
    std::cerr << "sluice-softverbs: " << command[0] << ": " << std::strerror(errno) << "\n";
    _exit(127);
  }
  struct sigaction pass {};
  pass.sa_handler = PassOn;
  for (const int number : EndingSignals::kPassedOn) sigaction(number, &pass, nullptr);
  signal(SIGINT, SIG_IGN);  // the terminal sends it to the program as well
  signals.LetIn();
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int Tell(const std::string& path, const std::vector<std::string>& words) {
  const absl::StatusOr<std::string> answer = sluice::TellSoftwareVerbs(path, absl::StrJoin(words, " "));
  if (!answer.ok()) return std::cerr << "sluice-softverbs: " << answer.status().message() << "\n", 1;
  return std::cout << *answer, 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 4 && std::strcmp(argv[1], "--tell") == 0) return Tell(argv[2], {argv + 3, argv + argc});
  if (argc < 4 || std::strcmp(argv[2], "--") != 0) return std::cerr << kUsage, 2;
  const auto devices = sluice::ReadSoftwareVerbs(argv[1]);
  if (!devices.ok()) return std::cerr << "sluice-softverbs: " << devices.status().message() << "\n", 2;
  const std::string provider = FindProvider();
  if (provider.empty()) return std::cerr << "sluice-softverbs: " << kProviderFile << " is not installed\n", 2;
  const EndingSignals signals;
  Sysfs sysfs;
  if (!sysfs.usable()) return std::cerr << "sluice-softverbs: no temporary folder; set TMPDIR\n", 2;
  const bool files = sysfs.Fill(*devices);
  if (!files) {
    std::cerr << "sluice-softverbs: cannot make files in " << kDeviceFiles
              << " (run as root for that): the devices are there for programs that can be preloaded\n";
  }
  SetEnvironment(argv[1], provider, sysfs, files);
  return Run(argv + 3, signals);
}
