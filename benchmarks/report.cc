// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/report.h"

#include <boost/json.hpp>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sluice::bench {
namespace {

// Four figures are more than any of them deserves.
std::string Figure(double value) {
  return absl::StrFormat(value < 10 ? "%.2f" : value < 1000 ? "%.1f" : "%.0f", value);
}

std::string PeerName(const Row& row) {
  if (row.what.peer.empty()) return "(none)";
  return row.what.peer_mode.empty() ? row.what.peer : absl::StrCat(row.what.peer, ", ", row.what.peer_mode);
}

std::string SpreadText(const Spread& spread) {
  return absl::StrCat(Figure(spread.median), " (", Figure(spread.low), "-", Figure(spread.high), ")");
}

std::string GoalText(const Case& what) {
  if (what.goal == 0) return "-";
  return absl::StrCat(what.peer.empty() ? "<= " : ">= ", Figure(what.goal));
}

class TableReport final : public Report {
 public:
  void Begin(const std::string& machine) override {
    std::printf(
        "%s\nratio = peer's cost / ours: more than 1 is faster than the peer; spread = quartiles of the "
        "rounds;\n"
        "load = processors used by others meanwhile\n\n",
        machine.c_str());
    Line("work", "unit", "peer and mode", "peer", "ours", "ratio", "goal", "verdict", "rounds", "load");
  }
  void Add(const Row& row) override {
    const bool measured = row.status.ok();
    Line(row.what.work, row.what.unit, PeerName(row), measured && row.paired() ? Figure(row.peer) : "-",
         measured ? Figure(row.ours) : "-", measured && row.paired() ? SpreadText(row.ratio) : "-",
         GoalText(row.what), Verdict(row), absl::StrCat(row.rounds), Figure(row.load));
    if (!measured)
      std::printf("    %s\n", row.status.ToString(absl::StatusToStringMode::kWithNoExtraData).c_str());
    if (!row.peer_missing.empty()) std::printf("    %s\n", row.peer_missing.c_str());
    std::fflush(stdout);
  }
  void End() override {}

 private:
  template <typename... Texts>
  static void Line(const Texts&... texts) {
    absl::PrintF("%-26s %-14s %-44s %9s %9s %20s %8s %-10s %6s %5s\n", texts...);
  }
};

class JsonReport final : public Report {
 public:
  void Begin(const std::string& machine) override { document_["machine"] = machine; }
  void Add(const Row& row) override {
    boost::json::object out;
    out["work"] = row.what.work;
    out["unit"] = row.what.unit;
    out["peer"] = PeerName(row);
    out["goal"] = row.what.goal;
    out["verdict"] = Verdict(row);
    out["rounds"] = row.rounds;
    out["load"] = row.load;
    if (row.status.ok()) out["ours"] = row.ours;
    if (!row.status.ok()) out["error"] = row.status.ToString(absl::StatusToStringMode::kWithNoExtraData);
    if (!row.peer_missing.empty()) out["peer_missing"] = row.peer_missing;
    if (row.status.ok() && row.paired()) {
      out["peer_cost"] = row.peer;
      out["ratio"] = {{"median", row.ratio.median}, {"low", row.ratio.low}, {"high", row.ratio.high}};
    }
    rows_.push_back(std::move(out));
  }
  void End() override {
    document_["rows"] = std::move(rows_);
    std::printf("%s\n", boost::json::serialize(document_).c_str());
  }

 private:
  boost::json::object document_;
  boost::json::array rows_;
};

}  // namespace

std::unique_ptr<Report> Report::Table() { return std::make_unique<TableReport>(); }
std::unique_ptr<Report> Report::Json() { return std::make_unique<JsonReport>(); }

std::string Verdict(const Row& row) {
  if (row.failed()) return "error";
  if (!row.status.ok()) return "not here";
  if (!row.peer_missing.empty()) return "no peer";
  if (!row.judged()) return "few rounds";
  if (row.what.goal == 0) return "-";
  return row.met() ? "met" : "missed";
}

}  // namespace sluice::bench
