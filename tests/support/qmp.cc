// SPDX-License-Identifier: Apache-2.0
#include "tests/support/qmp.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <stdexcept>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace sluice::testing {
namespace {

namespace json = boost::json;

constexpr absl::Duration kStart = absl::Seconds(10);   // of QEMU
constexpr absl::Duration kAnswer = absl::Seconds(30);  // of one that has other things to do

int Connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const absl::Time deadline = absl::Now() + kStart;
  while (absl::Now() < deadline) {
    const int line = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(line, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return line;
    close(line);
    absl::SleepFor(absl::Milliseconds(10));
  }
  throw std::runtime_error("no QEMU takes orders at " + path);
}

}  // namespace

Qmp::Qmp(const std::string& path) : line_(Connect(path)) {
  Hear();  // who it is
  Run("qmp_capabilities");
}

Qmp::~Qmp() { close(line_); }

json::value Qmp::Run(const std::string& command, const json::object& arguments) {
  json::object order{{"execute", command}};
  if (!arguments.empty()) order["arguments"] = arguments;
  Say(json::serialize(order) + "\n");
  for (;;) {
    const json::object said = Hear();
    if (const json::value* const result = said.if_contains("return")) return *result;
    if (const json::value* const error = said.if_contains("error")) {
      throw std::runtime_error("QEMU: " + command + ": " + json::serialize(error->at("desc")));
    }
  }
}

void Qmp::Say(const std::string& line) {
  if (send(line_, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    throw std::runtime_error("QEMU hears nothing");
  }
}

json::object Qmp::Hear() {
  size_t end = std::string::npos;
  while ((end = heard_.find('\n')) == std::string::npos) {
    pollfd waited{.fd = line_, .events = POLLIN, .revents = 0};
    char bytes[4096];
    const bool there = poll(&waited, 1, static_cast<int>(absl::ToInt64Milliseconds(kAnswer))) == 1;
    const ssize_t got = there ? recv(line_, bytes, sizeof(bytes), 0) : -1;
    if (got <= 0) throw std::runtime_error("QEMU does not answer");
    heard_.append(bytes, static_cast<size_t>(got));
  }
  const std::string line = heard_.substr(0, end);
  heard_.erase(0, end + 1);
  return json::parse(line).as_object();
}

}  // namespace sluice::testing
