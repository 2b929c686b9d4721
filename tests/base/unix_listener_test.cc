// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "base/unix_address_internal.h"
#include "base/unix_listener_internal.h"
#include "sluice/base/status.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::TempFolder;

absl::StatusOr<UnixListener> ListenAt(const std::string& path, int type = SOCK_STREAM) {
  return UnixListener::Listen({.device = "test", .path = path, .type = type});
}

// What a server leaves that was killed.
void LeaveSocketFile(const std::string& path, int type) {
  const auto address = UnixAddress::Of(path);
  const UniqueFd dead(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  REQUIRE(bind(dead.get(), address->generic(), address->length()) == 0);
}

struct stat FileAt(const std::string& path) {
  struct stat file {};
  REQUIRE(lstat(path.c_str(), &file) == 0);
  return file;
}

TEST_CASE("a listening socket is found at its path, and the file goes with it") {
  const TempFolder folder;
  const int type = GENERATE(SOCK_STREAM, SOCK_SEQPACKET);
  {
    const auto listener = ListenAt(folder.file("s"), type);
    REQUIRE(listener.ok());
    CHECK_FALSE(listener->Accept().valid());
    const UniqueFd client = ConnectUnix(folder.file("s"), type);
    CHECK(client.valid());
    CHECK(listener->Accept().valid());
  }
  CHECK(access(folder.file("s").c_str(), F_OK) != 0);
}

TEST_CASE("the file of a dead server is taken over, that of a living one of any type is not") {
  const TempFolder folder;
  LeaveSocketFile(folder.file("dead"), SOCK_STREAM);
  CHECK(ListenAt(folder.file("dead")).ok());

  const auto first = ListenAt(folder.file("alive"));
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    const absl::Status refused = ListenAt(folder.file("alive"), type).status();
    CHECK(absl::IsUnavailable(refused));
    CHECK(ProblemOf(refused)->what == "a server listens there");
  }
  CHECK(ConnectUnix(folder.file("alive"), SOCK_STREAM).valid());
}

TEST_CASE("a file that is no socket stays, and so does one that another server put there meanwhile") {
  const TempFolder folder;
  std::ofstream(folder.file("text")) << "kept";
  CHECK_FALSE(ListenAt(folder.file("text")).ok());
  CHECK(S_ISREG(FileAt(folder.file("text")).st_mode));
  {
    const auto listener = ListenAt(folder.file("s"));
    REQUIRE(unlink(folder.file("s").c_str()) == 0);
    LeaveSocketFile(folder.file("s"), SOCK_STREAM);
  }
  CHECK(S_ISSOCK(FileAt(folder.file("s")).st_mode));
}

TEST_CASE("mode, owner and group are those asked for, whatever the umask") {
  const TempFolder folder;
  const mode_t before = umask(0077);
  const auto listener = UnixListener::Listen(
      {.device = "test", .path = folder.file("s"), .mode = 0666, .owner = getuid(), .group = getgid()});
  umask(before);
  REQUIRE(listener.ok());
  const struct stat file = FileAt(folder.file("s"));
  CHECK((file.st_mode & 07777) == 0666);
  CHECK(file.st_uid == getuid());
}

TEST_CASE("a path that cannot be had is refused with a remedy") {
  const TempFolder folder;
  for (const std::string& path : {std::string(), std::string(108, 'x'), folder.file("no/folder")}) {
    const absl::Status refused = ListenAt(path).status();
    REQUIRE_FALSE(refused.ok());
    CHECK_FALSE(ProblemOf(refused)->remedy.empty());
    CHECK_FALSE(ConnectUnix(path, SOCK_STREAM).valid());
  }
}

}  // namespace
}  // namespace sluice
