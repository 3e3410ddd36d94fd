// What a growing and shrinking set of candidates takes of a node's capacity: fits(), one candidate at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "schedule/candidate.h"

namespace edgewise::schedule {

class Usage {
 public:
  // `capacity` must outlive this.
  explicit Usage(const Capacity& capacity) : capacity_(&capacity) {}

  bool fits(const Candidate& candidate) const {
    return count_ < capacity_->count && !holds_request(candidate.request) &&
           within(memory_ + candidate.memory_bytes + load_bytes(candidate),
                  capacity_->memory_bytes) &&
           within(uplink_ + candidate.uplink, capacity_->uplink) &&
           within(downlink_ + candidate.downlink, capacity_->downlink);
  }

  void add(const Candidate& candidate) {
    memory_ += candidate.memory_bytes + load_bytes(candidate);
    uplink_ += candidate.uplink;
    downlink_ += candidate.downlink;
    ++count_;
    ++at(members_of_variant_, candidate.variant);
    ++at(members_of_request_, candidate.request);
  }

  void remove(const Candidate& candidate) {
    --at(members_of_request_, candidate.request);
    --at(members_of_variant_, candidate.variant);
    --count_;
    memory_ -= candidate.memory_bytes + load_bytes(candidate);
    uplink_ -= candidate.uplink;
    downlink_ -= candidate.downlink;
  }

 private:
  static std::int32_t& at(std::vector<std::int32_t>& counts, std::int32_t index) {
    const auto place = static_cast<std::size_t>(index);
    counts.resize(std::max(counts.size(), place + 1));
    return counts[place];
  }

  static std::int32_t get(const std::vector<std::int32_t>& counts, std::int32_t index) {
    const auto place = static_cast<std::size_t>(index);
    return place < counts.size() ? counts[place] : 0;
  }

  bool holds_request(std::int32_t request) const { return get(members_of_request_, request) > 0; }

  // Only the first member of a variant pays for its weights.
  double load_bytes(const Candidate& candidate) const {
    return get(members_of_variant_, candidate.variant) > 0
               ? 0.0
               : capacity_->load_bytes(candidate.variant);
  }

  const Capacity* capacity_;
  std::int64_t count_ = 0;
  double memory_ = 0.0;
  double uplink_ = 0.0;
  double downlink_ = 0.0;
  std::vector<std::int32_t> members_of_variant_;
  std::vector<std::int32_t> members_of_request_;
};

}  // namespace edgewise::schedule
