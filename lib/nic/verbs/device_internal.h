// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_DEVICE_INTERNAL_H_
#define SLUICE_NIC_VERBS_DEVICE_INTERNAL_H_

// One port of one device: found and opened (device.cc), asked what it can (abilities.cc), and tried (trials.cc).

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nic/verbs/mlx5_internal.h"
#include "nic/verbs/objects_internal.h"
#include "nic/verbs/trials_internal.h"
#include "sluice/nic/link_state.h"
#include "sluice/nic/verbs_nic.h"

namespace sluice {

// "ibv_create_flow: EINVAL (...)"
std::string CallFailed(const char* call, int error);

class VerbsPort {
 public:
  // `mlx5` is the library of Mlx5.
  static absl::StatusOr<std::unique_ptr<VerbsPort>> Open(const VerbsNicOptions& options,
                                                         const std::string& mlx5 = Mlx5::kLibrary);

  const std::string& name() const { return name_; }  // "verbs mlx5_0/1"
  ibv_context* context() const { return context_; }
  ibv_pd* domain() const { return domain_.get(); }
  uint8_t port() const { return port_; }
  MacAddress mac() const { return mac_; }
  NodeId node() const { return node_; }
  const Capabilities& able() const { return able_; }
  uint32_t max_pieces() const { return max_pieces_; }
  // What completions of the extended kind can tell: IBV_WC_EX_WITH_... in a set; 0 = there are none.
  uint64_t told() const { return trials_.told; }
  // Whether such a queue may be polled by ibv_poll_cq(3), too.
  bool polls_plainly() const { return trials_.polls_plainly; }
  // Whether receive queues are work queues, over which frames can be spread.
  bool spreads() const { return able_.rss_table_size > 0; }
  bool blocks_own_multicast() const { return trials_.blocks_own_multicast; }
  uint32_t priorities() const { return trials_.priorities; }  // that rules can have: 0 to one less
  uint32_t max_segmented() const { return max_segmented_; }  // payload bytes of what is cut; 0 = cuts nothing
  bool extended_send() const { return trials_.extended_send; }
  bool keeps_fcs() const { return keeps_fcs_; }
  uint32_t max_rate() const { return max_rate_; }  // kbit/s; 0 = no pacing
  // Of the stamps of completions: the bits that count, and how many they are in a millisecond.
  uint64_t stamp_mask() const { return stamp_mask_; }
  uint64_t stamps_a_millisecond() const { return stamps_a_millisecond_; }
  const Mlx5& mlx5() const { return *mlx5_; }
  // Why direct receive, and with it completions in blocks and striding queues, are not to be had with these options; empty:
  // they are.
  std::string NoDirect(const VerbsNicOptions& options) const;
  std::string NoCompression(const VerbsNicOptions& options) const;
  std::string NoStriding(const VerbsNicOptions& options) const;
  // The same of LRO, which takes the other two along, asked for or not: With says so.
  std::string NoLro(const VerbsNicOptions& options) const;
  VerbsNicOptions With(const VerbsNicOptions& options) const;
  const std::vector<VerbsCapability>& described() const { return described_; }

  LinkState Link() const;  // asks the device

  // The failure of a verb, which left its errno in `error`.
  absl::Status Failed(int error, const char* stage, const char* capability, std::string what,
                      std::string remedy) const;

 private:
  explicit VerbsPort(std::string name) : name_(std::move(name)) {}

  absl::Status Find(const VerbsNicOptions& options);
  absl::Status Ask(const VerbsNicOptions& options, const std::string& mlx5);
  absl::Status CheckPort() const;
  absl::Status CheckWanted(const VerbsNicOptions& options) const;
  absl::Status CheckLagPort(uint8_t port) const;
  absl::Status CheckDirect(const VerbsNicOptions& options) const;
  void Describe(const ibv_device_attr_ex& attr);
  void DescribeSizes(const ibv_device_attr& attr);
  void DescribeFrames(const ibv_device_attr_ex& attr);
  void DescribeSpread(const ibv_device_attr_ex& attr);
  void DescribeMlx5(const VerbsNicOptions& options);
  absl::Status Try(const ibv_device_attr_ex& attr);
  void TryAll(ibv_cq& completions, ibv_qp& pair);
  void TryCompletions();
  int TryPlainPolls() const;
  int TryExtendedSend(ibv_cq& completions) const;
  void TryRules(ibv_qp& pair);
  void TryPriorities(ibv_qp& pair);
  int TryBlocking(ibv_cq& completions);
  int TrySpread(ibv_cq& completions) const;
  std::string TryDirect(const VerbsNicOptions& options) const;
  absl::Status TryLro();
  absl::Status NoRawPackets(int error) const;
  // Of a capability with this name. `missing` says why it is not there; empty: it is.
  void Note(std::string name, std::string missing, std::string detail = "");
  // Of a trial, with the errno that came of the call; 0: found.
  void NoteTrial(std::string name, const char* call, int error);

  const std::string name_;
  VerbsPtr<ibv_context> opened_;  // unless the caller opened it
  ibv_context* context_ = nullptr;
  VerbsPtr<ibv_pd> domain_;
  uint8_t port_ = 1;
  MacAddress mac_;
  NodeId node_ = kUnknownNode;
  uint32_t mtu_ = 0;
  uint32_t max_pieces_ = 1;
  uint32_t max_segmented_ = 0;
  bool strips_ = false;
  bool keeps_fcs_ = false;
  uint32_t max_rate_ = 0;
  uint64_t stamp_mask_ = 0;
  uint64_t stamps_a_millisecond_ = 0;
  VerbsTrials trials_;
  std::optional<Mlx5> mlx5_;  // once it was asked
  std::string no_direct_;     // of the trial, where it was asked for
  std::string no_lro_;        // likewise
  Capabilities able_;
  std::vector<VerbsCapability> described_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_DEVICE_INTERNAL_H_
