// SPDX-License-Identifier: Apache-2.0
// Linux guests that move from one QEMU to another, each on a vhost-user port of its own, under traffic.
//
//   guest ═ virtio ═ VhostNic ─ NicPatch ─ ModelNic ═ tap0 ┐
//     10.0.0.2                                             br0 ═ outside's kernel
//     ┊                                                    │       10.0.0.1
//   guest ═ virtio ═ VhostNic ─ NicPatch ─ ModelNic ═ tap1 ┘
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/nic/guest_house.h"
#include "tests/nic/vhost_relay.h"
#include "tests/support/figure.h"
#include "tests/support/guest_move.h"

namespace sluice::testing {
namespace {

// While a guest is kept busy, at this pace its memory is never all there.
constexpr GuestMove::Pace kNeverDone = {.bytes_per_second = 64'000'000, .downtime = absl::Milliseconds(1)};

// Of eventfds and sockets, by which front-ends are heard and called.
size_t OpenLines() {
  size_t lines = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string what = std::filesystem::read_symlink(entry, gone);
    lines += absl::StrContains(what, "eventfd") || absl::StartsWith(what, "socket") ? 1 : 0;
  }
  return lines;
}

// Files of QEMU that are mapped here, by name.
size_t Mapped(const std::string& name) {
  size_t mapped = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) mapped += absl::StrContains(line, name) ? 1 : 0;
  return mapped;
}
size_t MappedLogs() { return Mapped("memfd:vhost-log"); }
size_t MappedMemory() { return Mapped("memfd:memory-backend-memfd"); }

// Throws when it does not come: a guest that was harmed says nothing any more.
void Await(const std::function<bool()>& condition, const std::string& what) {
  if (!Comes(condition, absl::Seconds(15))) throw std::runtime_error("waited for " + what + " in vain");
}

// Two doors, and a guest behind the one or the other.
class TwoDoors {
 public:
  explicit TwoDoors(const GuestNic& kind, const VhostNicOptions& options = {})
      : kind_(kind),
        pool_(NewPool()),
        outside_(std::in_place, *pool_, 2),
        doors_{std::make_unique<Door>(*pool_, outside_->nic(0), kind, options),
               std::make_unique<Door>(*pool_, outside_->nic(1), kind, options)} {}
  ~TwoDoors() {
    guest_.reset();
    for (std::unique_ptr<Door>& door : doors_) door.reset();
    outside_.reset();
    CHECK(pool_->available() == pool_->options().packets);
  }

  void BootGuest(int door = 0) { BootGuestAt(doors_[door]->path()); }
  void BootGuestAt(const std::string& path) { guest_ = Boot(kind_, path, 2); }
  // One that a guest may move into.
  std::unique_ptr<Guest> Empty(int door) {
    return std::make_unique<Guest>(
        GuestOptions{.devices = DevicesOf(kind_, doors_[door]->path(), 2), .arrives = true});
  }
  // The guest is `to` from now on, and the QEMU that it was in is gone.
  void Replace(std::unique_ptr<Guest> to) { guest_ = std::move(to); }
  MoveReport MoveTo(int door) {
    std::unique_ptr<Guest> to = Empty(door);
    GuestMove move(guest(), *to);
    const MoveReport report = move.Finish();
    Replace(std::move(to));
    return report;
  }

  Guest& guest() { return *guest_; }
  Outside& outside() { return *outside_; }
  Door& door(int i) { return *doors_[i]; }
  // The bridge's tap at which it last saw the guest: "tap0".
  std::string WhereSeen() const {
    const std::string seen = outside_->Run("bridge fdb show br br0 | grep 02:00:00:00:00:02").output;
    const std::vector<std::string> words = absl::StrSplit(seen, ' ');
    return words.size() > 2 ? words[2] : "";
  }
  bool HasTraffic() {
    return guest().Run("ping -c 3 -i 0.2 -W 5 10.0.0.1", kPatience).ok() &&
           guest().Run("stream" + SourceTo(1), kPatience).output == Ok() &&
           outside().Run(Guest::StreamProgram() + SourceTo(2)).output == Ok();
  }

 private:
  const GuestNic kind_;
  std::unique_ptr<PacketPool> pool_;
  std::optional<Outside> outside_;
  std::unique_ptr<Door> doors_[2];
  std::unique_ptr<Guest> guest_;
};

// Streams from the guest to the outside and back, again and again until the end, and pings from outside.
class Bustle {
 public:
  explicit Bustle(TwoDoors& doors)
      : doors_(doors),
        pings_(doors.outside().Start("exec ping -D -i 0.02 10.0.0.2")),
        streams_(doors.outside().Start(
            absl::StrCat("while :; do ", Guest::StreamProgram(), SourceTo(2), "; sleep 0.2; done"))) {
    doors_.guest().MustRun(
        absl::StrCat("(while [ ! -e /tmp/enough ]; do stream", SourceTo(1),
                     "; sleep 0.2; done >/tmp/verdicts 2>&1; touch /tmp/over) >/dev/null 2>&1 &"));
    AwaitVerdict();
  }
  void AwaitVerdict() {
    const size_t before = VerdictsOutside().size();
    Await([&] { return VerdictsOutside().size() > before; }, "a stream's end");
  }
  // Throws unless every stream there was came to its end, with no byte that was wrong.
  void End() {
    streams_.End();
    pings_.Signal(SIGINT);
    (void)pings_.Wait(kPatience);
    doors_.guest().MustRun("touch /tmp/enough; until [ -e /tmp/over ]; do sleep 0.2; done");
    const std::string inside = doors_.guest().MustRun("cat /tmp/verdicts");
    std::vector<std::string> verdicts = absl::StrSplit(inside, '\n', absl::SkipEmpty());
    if (verdicts.empty()) throw std::runtime_error("no stream inside came to its end");
    for (const std::string& verdict : VerdictsOutside()) verdicts.push_back(verdict);
    for (const std::string& verdict : verdicts) {
      if (verdict + "\n" != Ok()) throw std::runtime_error(verdict);
    }
  }
  // "1200 packets transmitted, 1187 received ...; none answered for 240ms"
  std::string Text() const;

 private:
  std::vector<std::string> VerdictsOutside() const {
    return absl::StrSplit(streams_.Output(), '\n', absl::SkipEmpty());
  }
  TwoDoors& doors_;
  Process pings_;
  Process streams_;
};

std::string Bustle::Text() const {
  double last = 0, gap = 0;
  std::string summary;
  for (const auto line : absl::StrSplit(pings_.Output(), '\n')) {
    double at = 0;
    if (absl::StrContains(line, "packet loss")) summary = std::string(line);
    const bool answered = absl::StrContains(line, "bytes from");
    if (!answered || !absl::SimpleAtod(line.substr(1, line.find(']') - 1), &at)) continue;
    if (last != 0) gap = std::max(gap, at - last);
    last = at;
  }
  return absl::StrCat(summary, "; none answered for ", absl::FormatDuration(absl::Seconds(gap)));
}

// A QEMU 7.2 that emulates loses writes of the guest's own processors now and then while it moves: the guest then reads what
// stood there before. It was seen in 3 of 18 moves with QEMU's own card on kernel taps, and nothing of ours in the way, and in
// 1 of 18 with no card at all. So a guest that comes to harm may try again; a port that logs too little harms it each time (see
// the test of that below). Says whether a try went well: one that threw nothing.
bool GoesWell(const std::function<void()>& move) {
  constexpr int kTries = 5;
  for (int i = 0; i < kTries; ++i) {
    try {
      move();
      return true;
    } catch (const std::runtime_error& harm) {
      TellFigure(absl::StrCat("came to harm: ", harm.what()));
    }
  }
  return false;
}

void MoveThereAndBack(const GuestNic& kind) {
  TwoDoors doors(kind, {.packed = Want::kPrefer});
  doors.BootGuest();
  const size_t memory = MappedMemory();
  Bustle bustle(doors);
  for (const int door : {1, 0}) {
    TellFigure("moved " + TextOf(doors.MoveTo(door)));
    Await([&] { return MappedLogs() == 0 && MappedMemory() == memory; }, "the end of old mappings");
    Await([&] { return doors.door(door).Report().pairs_enabled == kind.pairs; }, "the guest");
    bustle.AwaitVerdict();
  }
  bustle.End();
  TellFigure(bustle.Text());
  if (!doors.HasTraffic()) throw std::runtime_error("no traffic");
}

TEST_CASE("a guest moves to another machine and back while it streams and is pinged",
          "[vhost][guest][long]") {
  CHECK(GoesWell([] { MoveThereAndBack({}); }));
}

TEST_CASE("a guest of packed rings moves to another machine and back while it streams and is pinged",
          "[vhost][guest][long]") {
  CHECK(GoesWell([] { MoveThereAndBack({"packed=on"}); }));
}

TEST_CASE("a port announces a guest that moved to it and does not do so itself", "[vhost][guest][long]") {
  TwoDoors doors({"guest_announce=off"});
  doors.BootGuest();
  CHECK(doors.guest().Run("ping -c 1 -W 5 10.0.0.1", kPatience).ok());
  CHECK(doors.WhereSeen() == "tap0");
  doors.guest().monitor();
  const size_t lines = OpenLines();
  doors.MoveTo(1);
  CHECK(Comes([&] { return doors.WhereSeen() == "tap1"; }));
  CHECK(Comes([&] { return OpenLines() == lines; }));
}

// Bytes that the guest has received and no program has read.
uint64_t UnreadIn(Guest& guest) {
  uint64_t unread = 0;
  std::istringstream(guest.MustRun("netstat -tn | awk '$4 ~ /:5000$/ { print $2 }'")) >> unread;
  return unread;
}

// What becomes of bytes that a port wrote to the guest's memory when that had been moved already, and that nobody reads before
// the guest is elsewhere. A verdict of tests/vm/stream.cc.
std::string MoveBehindTheWrites(TwoDoors& doors) {
  doors.guest().MustRun(
      "kill -STOP $(pidof stream); head -c 8000000 /dev/urandom >/tmp/much; "
      "(while [ ! -e /tmp/calm ]; do dd if=/tmp/much of=/tmp/busy bs=1M conv=notrunc; done) >/dev/null 2>&1 "
      "&");
  std::unique_ptr<Guest> to = doors.Empty(1);
  GuestMove move(doors.guest(), *to, kNeverDone);
  move.AwaitPass(4);  // what the guest had lent the port by then is where it goes to
  Process source = doors.outside().Start("exec " + Guest::StreamProgram() + SourceTo(2));
  CHECK(Comes([&] { return UnreadIn(doors.guest()) > 100'000; }));
  doors.guest().MustRun("touch /tmp/calm");
  move.SetPace({});
  TellFigure("moved " + TextOf(move.Finish()));
  doors.Replace(std::move(to));
  doors.guest().MustRun("kill -CONT $(pidof stream)");
  return source.Wait(absl::Seconds(20)) == kTimedOut ? "stuck" : source.Output();
}

TEST_CASE("what came to a guest while it moved is what it reads where it moved to", "[vhost][guest][long]") {
  CHECK(GoesWell([] {
    TwoDoors doors({});
    doors.BootGuest();
    if (const std::string verdict = MoveBehindTheWrites(doors); verdict != Ok())
      throw std::runtime_error(verdict);
  }));
}

// Else the test before this one proves nothing. A sink that finds a wrong byte hangs up.
TEST_CASE("a port that wrote no log would be found out", "[vhost][guest][long]") {
  std::string verdict = Ok();
  for (int tries = 0; tries < 5 && verdict == Ok(); ++tries) {
    TwoDoors doors({});
    const VhostRelay relay(doors.door(0).path());
    doors.BootGuestAt(relay.path());
    try {
      verdict = MoveBehindTheWrites(doors);
    } catch (const std::runtime_error& harm) {  // which proves nothing: see GoesWell
      TellFigure(absl::StrCat("came to harm: ", harm.what()));
    }
    CHECK(relay.kept() > 0);
  }
  TellFigure("found out by: " + verdict);
  CHECK(verdict != Ok());
}

TEST_CASE("a guest that was about to move stays, and its port writes no log any more",
          "[vhost][guest][long]") {
  TwoDoors doors({});
  doors.BootGuest();
  doors.guest().MustRun(
      "head -c 8000000 /dev/urandom >/tmp/much; "
      "(while [ ! -e /tmp/calm ]; do dd if=/tmp/much of=/tmp/busy bs=1M conv=notrunc; done) >/dev/null 2>&1 "
      "&");
  {
    const std::unique_ptr<Guest> to = doors.Empty(1);
    GuestMove move(doors.guest(), *to, kNeverDone);
    move.AwaitPass(2);
    CHECK(doors.door(0).Report().dirty_logging);
    CHECK(MappedLogs() == 1);
    move.Cancel();
  }
  CHECK(Comes([&] { return !doors.door(0).Report().dirty_logging; }));
  CHECK(MappedLogs() == 0);
  doors.guest().MustRun("touch /tmp/calm");
  CHECK(doors.HasTraffic());
}

}  // namespace
}  // namespace sluice::testing
