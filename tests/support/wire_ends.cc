// SPDX-License-Identifier: Apache-2.0
#include "tests/support/wire_ends.h"

#include <poll.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <numeric>
#include <stdexcept>

#include "tests/support/frames.h"

namespace sluice::testing {
namespace {

Bytes NumberedBytes(uint64_t number, uint32_t length) {
  Bytes bytes(length);
  for (uint32_t i = 0; i < length; ++i) bytes[i] = static_cast<uint8_t>(number * 7 + i);
  std::memcpy(bytes.data(), &number, sizeof(number));
  return bytes;
}

// Serves whenever one of the ends asks for it.
void ServeUntil(const std::function<bool()>& done, const std::vector<WireEnd*>& ends) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::vector<pollfd> fds;
  for (WireEnd* end : ends) fds.push_back({end->wire().service_fd(), POLLIN, 0});
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the link did not change");
    poll(fds.data(), fds.size(), 100);
    for (WireEnd* end : ends) end->Service();
  }
}

template <typename T>
T Take(absl::StatusOr<T> made) {
  if (!made.ok()) throw std::runtime_error(made.status().ToString());
  return *std::move(made);
}

}  // namespace

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "sluice-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

WireEnd::WireEnd(absl::StatusOr<std::unique_ptr<Wire>> wire, const WireEndOptions& options)
    : options_(options),
      pool_(Take(PacketPool::Create({.name = "wire-test",
                                     .packets = options.packets,
                                     .buffer_size = options.buffer_size,
                                     .huge_pages = HugePages::kOff}))),
      wire_(Take(std::move(wire))) {
  Reopen();
}

void WireEnd::Reopen() {
  const absl::Status opened =
      wire_->Open({.lanes = options_.lanes, .ring = options_.ring, .pool = pool_.get()});
  if (!opened.ok()) throw std::runtime_error(opened.ToString());
}

PacketPtr WireEnd::Numbered(uint64_t number, uint32_t length) {
  return MakePacket(*pool_, NumberedBytes(number, length));
}

size_t WireEnd::Send(uint64_t first, size_t count, uint32_t length) {
  size_t sent = 0;
  while (sent < count) {
    Burst burst;
    while (burst.size() < count - sent && burst.room() != 0)
      burst.Push(Numbered(first + sent + burst.size(), length));
    const size_t offered = burst.size();
    const size_t taken = wire_->Transmit(0, burst);
    sent += taken;
    if (taken < offered) break;
  }
  return sent;
}

std::vector<uint64_t> WireEnd::Receive() {
  std::vector<uint64_t> numbers;
  do {
    for (const Packet* packet : inbox_) numbers.push_back(NumberOf(*packet));
    inbox_.Clear();
  } while (wire_->Receive(inbox_) != 0);
  return numbers;
}

bool WireEnd::SendOne(PacketPtr packet) {
  Burst burst;
  burst.Push(std::move(packet));
  return wire_->Transmit(0, burst) == 1;
}

PacketPtr WireEnd::ReceiveOne(absl::Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  while (inbox_.empty() && std::chrono::steady_clock::now() < deadline) {
    pollfd one{wire_->fd(), POLLIN, 0};
    if (wire_->Receive(inbox_) == 0 && wire_->Arm()) poll(&one, 1, 100);
  }
  return inbox_.empty() ? nullptr : inbox_.PopFront();
}

void UntilUp(WireEnd& a, WireEnd& b) {
  ServeUntil([&] { return a.up() && b.up(); }, {&a, &b});
}

void UntilUp(WireEnd& a) {
  ServeUntil([&] { return a.up(); }, {&a});
}

bool Readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, 0) == 1;
}

void UntilDown(WireEnd& a) {
  ServeUntil([&] { return !a.up(); }, {&a});
}

uint64_t NumberOf(const Packet& packet) {
  const Bytes bytes = BytesOf(packet);
  uint64_t number = 0;
  if (bytes.size() < sizeof(number)) throw std::runtime_error("a frame was cut off");
  std::memcpy(&number, bytes.data(), sizeof(number));
  if (bytes != NumberedBytes(number, packet.length())) throw std::runtime_error("a frame was damaged");
  return number;
}

std::vector<uint64_t> Range(uint64_t first, uint64_t end) {
  std::vector<uint64_t> range(end - first);
  std::iota(range.begin(), range.end(), first);
  return range;
}

}  // namespace sluice::testing
