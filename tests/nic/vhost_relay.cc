// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/vhost_relay.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <stdexcept>
#include <utility>
#include <vector>

namespace sluice::testing {
namespace {

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

UniqueFd Socket() { return UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

UniqueFd Listen(const std::string& path) {
  UniqueFd listener = Socket();
  const sockaddr_un address = AddressOf(path);
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener.get(), 1) != 0) {
    throw std::runtime_error("no listening socket at " + path);
  }
  return listener;
}

UniqueFd Connect(const std::string& path) {
  UniqueFd connection = Socket();
  const sockaddr_un address = AddressOf(path);
  if (connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return {};
  }
  return connection;
}

// Takes what a message says of the log out of it.
void Censor(VhostMessage& message) {
  const auto request = static_cast<VhostRequest>(message.header.request);
  if (request == VhostRequest::kSetFeatures) {
    const uint64_t features = message.As<uint64_t>() & ~kVhostLogAll;
    std::memcpy(message.payload.data(), &features, sizeof(features));
  } else if (request == VhostRequest::kSetVringAddr) {
    auto address = message.As<VhostRingAddress>();
    address.flags &= ~kVhostRingLog;
    std::memcpy(message.payload.data(), &address, sizeof(address));
  }
}

bool SendOn(const VhostMessage& message, const VhostSocket& to) {
  std::vector<int> fds;
  for (size_t i = 0; i < message.fd_count; ++i) fds.push_back(message.fds[i].get());
  return to.Send(message.header, {message.payload.data(), message.header.size}, fds);
}

}  // namespace

VhostRelay::VhostRelay(std::string port_path)
    : port_path_(std::move(port_path)), listener_(Listen(path())), stop_(eventfd(0, EFD_CLOEXEC)) {
  thread_ = std::thread([this] { Run(); });
}

VhostRelay::~VhostRelay() {
  (void)eventfd_write(stop_.get(), 1);
  thread_.join();
}

void VhostRelay::Run() {
  while (Wait(listener_.get())) {
    VhostSocket front(UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    VhostSocket port(Connect(port_path_));
    Serve(front, port);
  }
}

void VhostRelay::Serve(VhostSocket& front, VhostSocket& port) {
  while (Pass(front, port, true) && Pass(port, front, false)) {
    if (!Wait(front.fd(), port.fd())) return;
  }
}

// All that has come. False when one of the two has gone.
bool VhostRelay::Pass(VhostSocket& from, VhostSocket& to, bool censored) {
  for (;;) {
    const VhostArrival arrival = from.Receive();
    if (arrival == VhostArrival::kNothing) return true;
    if (arrival != VhostArrival::kMessage) return false;
    if (censored && KeepsBack(from)) continue;
    if (censored) Censor(from.message());
    if (!SendOn(from.message(), to)) return false;
  }
}

// Answers SET_LOG_BASE in place of the port.
bool VhostRelay::KeepsBack(VhostSocket& front) {
  const VhostHeader& asked = front.message().header;
  if (static_cast<VhostRequest>(asked.request) != VhostRequest::kSetLogBase) return false;
  const uint64_t done = 0;
  (void)front.Send({asked.request, kVhostVersion | kVhostReply, sizeof(done)},
                   {reinterpret_cast<const uint8_t*>(&done), sizeof(done)});
  ++kept_;
  return true;
}

// Until there is something to read. False when it is time to stop.
bool VhostRelay::Wait(int a, int b) {
  pollfd waited[] = {{stop_.get(), POLLIN, 0}, {a, POLLIN, 0}, {b, POLLIN, 0}};
  poll(waited, 3, -1);
  return waited[0].revents == 0;
}

}  // namespace sluice::testing
