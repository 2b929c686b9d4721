// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_INSPECTOR_INTERNAL_H_
#define SLUICE_NIC_MODEL_INSPECTOR_INTERNAL_H_

// What the card finds out about one arrival before it is steered: length, VLAN tag, layers, checksums.
// Threads: whoever steers, one at a time.

#include <optional>

#include "nic/model/steering_table_internal.h"
#include "nic/offload/first_lines_internal.h"
#include "sluice/base/drop_reason.h"
#include "sluice/packet/packet.h"

namespace sluice {

struct InspectorOptions {
  uint32_t max_frame = 0;
  bool strip_vlan = false;
  bool verify_checksums = false;
  bool drop_bad_checksums = false;
  bool parse = false;  // layers are wanted in any case
};

class Inspector {
 public:
  explicit Inspector(const InspectorOptions& options)
      : options_(options), looks_inside_(options.verify_checksums || options.parse) {}

  // Whether every arrival needs Inspect, whatever the tables say.
  bool looks() const { return options_.strip_vlan || looks_inside_; }

  FirstLines Look() const { return FirstLines(options_.max_frame); }
  uint32_t max_frame() const { return options_.max_frame; }

  // Whether any of a burst does: it is too short or too long, or came unfinished over a wire in memory.
  bool AnyOdd(const FirstLines& burst) const { return burst.any_odd(); }

  // After Packet::Arrive, for what `table` has to know. Why the packet ends here, if it does.
  std::optional<DropReason> Inspect(Packet& packet, const SteeringTable& table) const;

 private:
  void TakeTag(Packet& packet) const;
  static void FindLayers(Packet& packet);
  static void TellUnfinished(Packet& packet);
  static void Verify(Packet& packet);

  const InspectorOptions options_;
  const bool looks_inside_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_INSPECTOR_INTERNAL_H_
