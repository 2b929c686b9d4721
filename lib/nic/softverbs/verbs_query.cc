// SPDX-License-Identifier: Apache-2.0
// What the device says of itself.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "nic/softverbs/verbs_objects_internal.h"
#include "sluice/nic/software_verbs_config.h"

namespace sluice {
namespace {

constexpr uint32_t kVendor =
    0x0251ce;  // an address block that nobody owns: the second bit of its first byte is set
constexpr uint32_t kPart = 1;
constexpr uint32_t kMaxDomains = 1u << 16;

int Capped(uint32_t count) { return static_cast<int>(std::min<uint32_t>(count, 0x7fffffff)); }

// As of the device, but for the two bytes in the middle: each device that is made is an image of its own, and what is
// known of one is not taken for another's.
uint64_t ImageGuid(const SoftDevice& device) {
  std::array<uint8_t, 8> bytes;
  const uint64_t guid = SoftGuid(device.options.mac);
  std::memcpy(bytes.data(), &guid, sizeof(guid));
  bytes[3] = static_cast<uint8_t>(device.made >> 8);
  bytes[4] = static_cast<uint8_t>(device.made);
  return std::bit_cast<uint64_t>(bytes);
}

void DescribeBase(const SoftDevice& device, ibv_device_attr& attr) {
  const SoftwareVerbsHardware& hardware = device.hardware();
  std::strcpy(attr.fw_ver, "0.1.0");
  attr.node_guid = SoftGuid(device.options.mac);
  attr.sys_image_guid = ImageGuid(device);
  attr.max_mr_size = ~uint64_t{0};
  attr.page_size_cap = ~uint64_t{0xfff};
  attr.vendor_id = kVendor;
  attr.vendor_part_id = kPart;
  attr.max_qp = Capped(hardware.max_queue_pairs);
  attr.max_raw_ethy_qp = attr.max_qp;
  attr.max_qp_wr = Capped(hardware.max_work_requests);
  attr.device_cap_flags = IBV_DEVICE_RAW_MULTI | IBV_DEVICE_PORT_ACTIVE_EVENT | IBV_DEVICE_SYS_IMAGE_GUID;
  if (hardware.send_checksums || hardware.receive_checksums) attr.device_cap_flags |= IBV_DEVICE_RAW_IP_CSUM;
  if (hardware.max_rules > 0) attr.device_cap_flags |= IBV_DEVICE_MANAGED_FLOW_STEERING;
  attr.max_sge = Capped(hardware.max_pieces);
  attr.max_cq = Capped(hardware.max_completion_queues);
  attr.max_cqe = Capped(hardware.max_completions);
  attr.max_mr = Capped(hardware.max_regions);
  attr.max_pd = kMaxDomains;
  attr.max_mcast_grp = attr.max_total_mcast_qp_attach = Capped(hardware.max_rules);
  attr.max_mcast_qp_attach = attr.max_mcast_grp;
  attr.atomic_cap = IBV_ATOMIC_NONE;
  attr.max_pkeys = 1;
  attr.phys_port_cnt = 1;
}

void DescribeSpread(const SoftwareVerbsHardware& hardware, ibv_rss_caps& caps) {
  caps.supported_qpts = 1u << IBV_QPT_RAW_PACKET;
  caps.max_rwq_indirection_tables = hardware.max_work_queues;
  caps.max_rwq_indirection_table_size = hardware.max_spread_table;
  caps.rx_hash_fields_mask = kSoftHashFields;
  caps.rx_hash_function = IBV_RX_HASH_FUNC_TOEPLITZ;
}

// Into zeroes, and in place: who compares two answers may compare their bytes, those between the fields as well.
void Describe(const SoftDevice& device, ibv_device_attr_ex& attr) {
  const SoftwareVerbsHardware& hardware = device.hardware();
  DescribeBase(device, attr.orig_attr);
  if (hardware.send_checksums) attr.raw_packet_caps |= IBV_RAW_PACKET_CAP_IP_CSUM;
  if (hardware.timestamps) {
    attr.completion_timestamp_mask = ~uint64_t{0} >> 1;
    attr.hca_core_clock = 1'000'000;  // kHz: the Clock counts nanoseconds
  }
  attr.max_wq_type_rq = hardware.max_work_queues;
  if (hardware.max_work_queues > 0) DescribeSpread(hardware, attr.rss_caps);
  if (hardware.vlan_strip) attr.raw_packet_caps |= IBV_RAW_PACKET_CAP_CVLAN_STRIPPING;
  if (hardware.scatter_fcs) attr.raw_packet_caps |= IBV_RAW_PACKET_CAP_SCATTER_FCS;
  if (hardware.max_segmented > 0) attr.tso_caps = {hardware.max_segmented, 1u << IBV_QPT_RAW_PACKET};
  attr.max_dm_size = hardware.device_memory;
  if (hardware.max_rate > 0) attr.packet_pacing_caps = {1, hardware.max_rate, 1u << IBV_QPT_RAW_PACKET};
  attr.phys_port_cnt_ex = 1;
}

ibv_mtu MtuFor(uint32_t bytes) {
  uint32_t mtu = IBV_MTU_256;
  while (mtu < IBV_MTU_4096 && (256u << (mtu - IBV_MTU_256 + 1)) <= bytes) ++mtu;
  return static_cast<ibv_mtu>(mtu);
}

}  // namespace

// As in a link-local address, but for the bit that an address inverts.
uint64_t SoftGuid(const MacAddress& mac) {
  const std::array<uint8_t, 16> gid = SoftwareVerbsGid(mac);
  uint64_t guid;
  std::memcpy(&guid, gid.data() + 8, sizeof(guid));
  return guid;
}

int QueryDevice(ibv_context* context, const ibv_query_device_ex_input* input, ibv_device_attr_ex* attr,
                size_t size) {
  if (input != nullptr && input->comp_mask != 0) return EINVAL;
  ibv_device_attr_ex described;
  std::memset(&described, 0, sizeof(described));
  Describe(DeviceOf(context), described);
  std::memcpy(attr, &described, std::min(size, sizeof(described)));
  return 0;
}

int QueryPort(ibv_context* context, uint8_t port, ibv_port_attr* attr) {
  constexpr uint8_t kPolling = 2, kLinkUp = 5;    // physical states
  constexpr uint8_t kFourLanes = 2, kOf25G = 32;  // link width and speed: 100 Gb/s
  if (port != 1) return EINVAL;
  SoftDevice& device = DeviceOf(context);
  const std::lock_guard lock(device.gate);
  const bool up = device.port.up();
  *attr = {};
  attr->state = up ? IBV_PORT_ACTIVE : IBV_PORT_DOWN;
  attr->phys_state = up ? kLinkUp : kPolling;
  attr->max_mtu = IBV_MTU_4096;
  attr->active_mtu = MtuFor(device.options.mtu);
  attr->gid_tbl_len = kSoftGids;
  attr->max_msg_sz = 1u << 30;
  attr->pkey_tbl_len = 1;
  attr->max_vl_num = 1;
  attr->active_width = kFourLanes;
  attr->active_speed = kOf25G;
  attr->link_layer = IBV_LINK_LAYER_ETHERNET;
  return 0;
}

}  // namespace sluice
