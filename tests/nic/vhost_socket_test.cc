// SPDX-License-Identifier: Apache-2.0
// Messages out of a stream of bytes.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "nic/vhost/socket_internal.h"
#include "tests/nic/vhost_messages.h"
#include "tests/support/footprint.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using testing::Below;
using testing::Bytes;
using testing::BytesOf;
using testing::EventFd;
using testing::Footprint;
using testing::PrintedSeed;
using testing::Random;
using testing::SameFile;
using testing::SharedFile;
using testing::operator+;
using testing::VhostScript;

Bytes MessageOf(uint32_t request, const Bytes& payload) {
  return BytesOf(VhostHeader{request, kVhostVersion, static_cast<uint32_t>(payload.size())}) + payload;
}

// Both ends of a connection.
struct Pair {
  Pair() : Pair(MakePair()) {}

  VhostSocket ours;
  VhostScript theirs;

 private:
  struct Ends {
    UniqueFd a, b;
  };
  static Ends MakePair() {
    int ends[2] = {-1, -1};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
  }
  explicit Pair(Ends ends) : ours(std::move(ends.a)), theirs(std::move(ends.b)) {}
};

std::vector<int> Numbers(const std::vector<UniqueFd>& fds) {
  std::vector<int> numbers;
  for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
  return numbers;
}

std::vector<UniqueFd> Files(size_t count) {
  std::vector<UniqueFd> files;
  for (size_t i = 0; i < count; ++i) files.push_back(SharedFile(4096));
  return files;
}

TEST_CASE("a vhost-user message is whole once its last byte came, in whatever pieces it came") {
  const Bytes whole = MessageOf(5, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  for (size_t cut = 1; cut < whole.size(); ++cut) {
    Pair pair;
    pair.theirs.SendRaw({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(cut)});
    REQUIRE(pair.ours.Receive() == VhostArrival::kNothing);
    pair.theirs.SendRaw({whole.begin() + static_cast<ptrdiff_t>(cut), whole.end()});
    REQUIRE(pair.ours.Receive() == VhostArrival::kMessage);
    CHECK(pair.ours.message().header.size == 9);
    CHECK(pair.ours.message().payload[8] == 9);
    CHECK(pair.ours.Receive() == VhostArrival::kNothing);
  }
}

TEST_CASE("descriptors belong to the message whose bytes they came with, in their order") {
  Pair pair;
  const std::vector<UniqueFd> files = Files(8);
  pair.theirs.SendRaw(MessageOf(1, {}));
  pair.theirs.SendRaw(MessageOf(2, {1, 2}), Numbers(files));
  pair.theirs.SendRaw(MessageOf(3, {}));
  REQUIRE(pair.ours.Receive() == VhostArrival::kMessage);
  CHECK(pair.ours.message().fd_count == 0);
  REQUIRE(pair.ours.Receive() == VhostArrival::kMessage);
  REQUIRE(pair.ours.message().fd_count == 8);
  for (size_t i = 0; i < 8; ++i) CHECK(SameFile(pair.ours.message().fds[i].get(), files[i].get()));
  REQUIRE(pair.ours.Receive() == VhostArrival::kMessage);
  CHECK(pair.ours.message().fd_count == 0);
}

TEST_CASE("descriptors may come with the header, the payload, or each with some") {
  Pair pair;
  const std::vector<UniqueFd> files = Files(2);
  const Bytes whole = MessageOf(2, {1, 2, 3, 4});
  pair.theirs.SendRaw({whole.begin(), whole.begin() + 12}, {files[0].get()});
  pair.theirs.SendRaw({whole.begin() + 12, whole.end()}, {files[1].get()});
  REQUIRE(pair.ours.Receive() == VhostArrival::kMessage);
  REQUIRE(pair.ours.message().fd_count == 2);
  CHECK(SameFile(pair.ours.message().fds[1].get(), files[1].get()));
}

TEST_CASE("a message that claims more than 4096 bytes is not waited for") {
  const uint32_t size = GENERATE(4097u, 1u << 30, ~0u);
  Pair pair;
  pair.theirs.SendRaw(BytesOf(VhostHeader{1, kVhostVersion, size}));
  CHECK(pair.ours.Receive() == VhostArrival::kTooLong);
}

TEST_CASE("more than 8 descriptors with a message are refused, and all of them closed") {
  const size_t count = GENERATE(9u, 20u, 64u);
  const std::vector<UniqueFd> files = Files(count);
  const size_t before = Footprint::Now().descriptors;
  {
    Pair pair;
    pair.theirs.SendRaw(MessageOf(5, {}), Numbers(files));
    CHECK(pair.ours.Receive() == VhostArrival::kTooManyFds);
  }
  CHECK(Footprint::Now().descriptors == before);
}

TEST_CASE("descriptors that this process has no room for end the connection, and none leaks") {
  const std::vector<UniqueFd> files = Files(8);
  const size_t before = Footprint::Now().descriptors;
  {
    Pair pair;
    pair.theirs.SendRaw(MessageOf(5, {}), Numbers(files));
    rlimit limit{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const rlimit narrow{static_cast<rlim_t>(pair.ours.fd() + 4), limit.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &narrow) == 0);
    const VhostArrival arrival = pair.ours.Receive();
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(arrival == VhostArrival::kTooManyFds);
  }
  CHECK(Footprint::Now().descriptors == before);
}

TEST_CASE("what came of a message that never becomes whole is closed with the socket") {
  const std::vector<UniqueFd> files = Files(3);
  const size_t before = Footprint::Now().descriptors;
  {
    Pair pair;
    pair.theirs.SendRaw({1, 2, 3}, Numbers(files));
    REQUIRE(pair.ours.Receive() == VhostArrival::kNothing);
    pair.theirs.HangUp();
    CHECK(pair.ours.Receive() == VhostArrival::kCutOff);
  }
  CHECK(Footprint::Now().descriptors == before);
}

TEST_CASE("hanging up between two messages is no error, within one it is") {
  Pair pair;
  pair.theirs.SendRaw(MessageOf(5, {1, 2, 3}));
  pair.theirs.HangUp();
  CHECK(pair.ours.Receive() == VhostArrival::kMessage);
  CHECK(pair.ours.Receive() == VhostArrival::kGone);

  Pair cut;
  cut.theirs.SendRaw(BytesOf(VhostHeader{1, kVhostVersion, 8}));
  cut.theirs.HangUp();
  CHECK(cut.ours.Receive() == VhostArrival::kCutOff);
}

TEST_CASE("descriptors that come are not inherited by programs that the host starts") {
  Pair pair;
  const UniqueFd event = EventFd();
  pair.theirs.SendRaw(MessageOf(5, {}), {event.get()});
  REQUIRE(pair.ours.Receive() == VhostArrival::kMessage);
  CHECK((fcntl(pair.ours.message().fds[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("what is sent is heard, with its descriptors, and who does not read is told nothing more") {
  Pair pair;
  const UniqueFd file = SharedFile(4096);
  const int fd = file.get();
  const Bytes payload = {1, 2, 3, 4};
  REQUIRE(pair.ours.Send({7, 1, 4}, payload, {&fd, 1}));
  const auto heard = pair.theirs.Read();
  REQUIRE(heard.has_value());
  CHECK(heard->header.request == 7);
  CHECK(heard->payload == payload);
  REQUIRE(heard->fds.size() == 1);
  CHECK(SameFile(heard->fds[0].get(), fd));

  size_t sent = 0;
  while (sent < 100'000 && pair.ours.Send({7, 1, 4}, payload)) ++sent;
  CHECK(sent < 100'000);
  pair.theirs.HangUp();
  CHECK_FALSE(pair.ours.Send({7, 1, 4}, payload));
}

TEST_CASE("messages of random sizes in random pieces come out as they went in") {
  Random random(PrintedSeed());
  Pair pair;
  for (uint32_t n = 0; n < 200; ++n) {
    Bytes payload(Below(random, n % 10 == 0 ? 4097 : 60));
    for (uint8_t& byte : payload) byte = static_cast<uint8_t>(random());
    Bytes rest = MessageOf(n, payload);
    while (!rest.empty()) {
      const auto cut = static_cast<ptrdiff_t>(1 + Below(random, rest.size()));
      pair.theirs.SendRaw({rest.begin(), rest.begin() + cut});
      rest.erase(rest.begin(), rest.begin() + cut);
      REQUIRE(pair.ours.Receive() == (rest.empty() ? VhostArrival::kMessage : VhostArrival::kNothing));
    }
    const VhostMessage& message = pair.ours.message();
    REQUIRE(message.header.request == n);
    REQUIRE(message.header.size == payload.size());
    REQUIRE(std::equal(payload.begin(), payload.end(), message.payload.begin()));
  }
}

}  // namespace
}  // namespace sluice
