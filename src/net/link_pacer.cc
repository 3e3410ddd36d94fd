#include "net/link_pacer.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/seconds.h"

namespace edgewise::net {
namespace {

constexpr std::int64_t kSegment = 1448;     // TCP payload of a 1,500-byte packet
constexpr std::int64_t kPacketHeader = 52;  // IPv4, TCP with timestamps
constexpr std::int64_t kRecord = 16 * 1024;
constexpr std::int64_t kRecordHeader = 29;      // TLS 1.2 with GCM; 1.3: 22
constexpr std::int64_t kMostPiece = 64 * 1024;  // a turn on fast links
constexpr double kPieceSeconds = 0.02;          // of the link, where that is more than a segment
constexpr double kBurstSeconds = 0.05;
constexpr double kBeginnings = 0.1;       // of the link, for first tokens and short replies
constexpr double kBeginningBytes = 1448;  // of a reply
constexpr double kMargin = 0.05;          // seconds before its deadline a reply should be sent
constexpr double kHaste = 0.9;            // ... and this much of the time that is left
constexpr double kLeastTime = 0.01;
constexpr double kMostPieces = 2.0;  // that one may be ahead of his fair turns when he comes back
constexpr auto kMostLag =
    std::chrono::seconds(1);  // behind the rate for a deadline, to be caught up

LinkPacer::Time after(LinkPacer::Time begin, double seconds) {
  return begin + std::chrono::ceil<LinkPacer::Time::duration>(
                     std::chrono::duration<double>(std::min(seconds, 1e6)));
}

}  // namespace

std::int64_t wire_bytes(std::int64_t payload, bool is_tls) {
  if (payload <= 0) {
    return 0;
  }
  const std::int64_t records = is_tls ? (payload + kRecord - 1) / kRecord : 0;
  const std::int64_t bytes = payload + records * kRecordHeader;
  return bytes + (bytes + kSegment - 1) / kSegment * kPacketHeader;
}

void LinkPacer::Bucket::fill(double seconds) {
  level = std::min(depth, level + rate * seconds);
}

LinkPacer::LinkPacer(double bytes_per_s, Time now)
    : piece_(std::clamp(static_cast<std::int64_t>(bytes_per_s * kPieceSeconds),
                        kSegment - kRecordHeader,
                        kMostPiece)),
      cost_(static_cast<double>(wire_bytes(piece_, true))),
      depth_(std::max(2.0 * cost_, bytes_per_s * kBurstSeconds)),
      filled_(now) {
  CHECK(bytes_per_s > 0.0, "a link of {} bytes/s", bytes_per_s);
  link_ = {bytes_per_s, depth_, depth_};
  const double rate = kBeginnings * bytes_per_s;
  beginnings_ = {rate, std::max(4.0 * cost_, rate), std::max(4.0 * cost_, rate)};
  reserved_ = {kReserved * bytes_per_s, depth_, depth_};
}

void LinkPacer::fill(Time now) {
  const double seconds = std::max(0.0, seconds_between(filled_, now));
  filled_ = std::max(filled_, now);
  link_.fill(seconds);
  beginnings_.fill(seconds);
  reserved_.fill(seconds);
}

void LinkPacer::begin_reply(Flow& flow) {
  leave(flow);
  flow.terms_ = {};
  flow.sent_bytes_ = 0.0;
  flow.due_ = {};
}

void LinkPacer::set_terms(Flow& flow, LinkTerms terms) {
  const bool is_here = flow.state_ != Flow::State::kIdle;
  if (is_here) {
    go(flow);
  }
  flow.terms_ = std::move(terms);
  if (is_here) {
    enter(flow);
  }
}

// Into its group. Nobody saves up turns, nor is what a deadline took beyond its share held against him for long.
void LinkPacer::enter(Flow& flow) {
  std::erase_if(groups_, [this](const auto& entry) {
    return entry.second.members == 0 && entry.second.tag <= virtual_time_;
  });
  Group& group = groups_[flow.terms_.group];
  group.share = flow.terms_.group_share;
  if (group.members == 0) {
    group.tag =
        std::clamp(group.tag, virtual_time_, virtual_time_ + kMostPieces * cost_ / group.share);
    group.virtual_time = latest_;
  }
  ++group.members;
  group.weight += flow.terms_.weight;
  flow.group_ = &group;
  flow.tag_ = std::clamp(flow.tag_, group.virtual_time,
                         group.virtual_time + kMostPieces * cost_ / flow.terms_.weight);
}

void LinkPacer::go(Flow& flow) {
  Group& group = *std::exchange(flow.group_, nullptr);
  group.weight = --group.members == 0 ? 0.0 : group.weight - flow.terms_.weight;
  latest_ = std::max(latest_, group.virtual_time);
}

void LinkPacer::wait(Flow& flow, std::int64_t bytes, Time now) {
  if (flow.state_ != Flow::State::kIdle) {
    flow.waiting_bytes_ = static_cast<double>(bytes);
    return;
  }
  enter(flow);
  line_up(flow, bytes, now);
}

void LinkPacer::line_up(Flow& flow, std::int64_t bytes, Time now) {
  flow.waiting_bytes_ = static_cast<double>(bytes);
  flow.state_ = Flow::State::kWaiting;
  flow.place_ = next_place_++;
  flow.due_ = std::max(flow.due_, now);
  waiting_.push_back(&flow);
}

void LinkPacer::leave(Flow& flow) {
  if (flow.state_ == Flow::State::kIdle) {
    return;
  }
  if (flow.state_ == Flow::State::kTurn) {
    give_back(flow, cost_);
  } else {
    std::erase(waiting_, &flow);
  }
  go(flow);
  flow.state_ = Flow::State::kIdle;
  flow.waiting_bytes_ = 0.0;
}

// What a turn took and did not use.
void LinkPacer::give_back(Flow& flow, double bytes) {
  link_.level = std::min(link_.depth, link_.level + bytes);
  if (flow.allowance_ != nullptr) {
    flow.allowance_->level = std::min(flow.allowance_->depth, flow.allowance_->level + bytes);
  }
}

double LinkPacer::needed_rate(const Flow& flow, double bytes, Time now) const {
  if (!flow.terms_.deadline || *flow.terms_.deadline <= now) {
    return 0.0;
  }
  const double left = kHaste * seconds_between(now, *flow.terms_.deadline) - kMargin;
  return bytes / std::max(left, kLeastTime);
}

LinkPacer::Flow* LinkPacer::who_begins() const {
  Flow* first = nullptr;
  for (Flow* flow : waiting_) {
    if (flow->sent_bytes_ < kBeginningBytes && (first == nullptr || flow->place_ < first->place_)) {
      first = flow;
    }
  }
  return first;
}

LinkPacer::Flow* LinkPacer::who_is_behind(Time now) const {
  Flow* first = nullptr;
  for (Flow* flow : waiting_) {
    const auto& deadline = flow->terms_.deadline;
    if (deadline && *deadline > now && flow->due_ <= now &&
        (first == nullptr || *deadline < *first->terms_.deadline)) {
      first = flow;
    }
  }
  return first;
}

LinkPacer::Flow* LinkPacer::fair_turn() const {
  const auto rank = [](const Flow* flow) {
    return std::tuple(flow->group_->tag, flow->group_, flow->tag_, flow->place_);
  };
  const auto least =
      std::min_element(waiting_.begin(), waiting_.end(),
                       [&](const Flow* a, const Flow* b) { return rank(a) < rank(b); });
  return least == waiting_.end() ? nullptr : *least;
}

// Moves the tags of who sent, and the virtual times with them. Afterwards nobody who waits is further ahead than all.
void LinkPacer::count_fairly(Flow& flow, double bytes) {
  Group& group = *flow.group_;
  flow.tag_ += bytes / flow.terms_.weight;
  group.tag += bytes / group.share;
  group.virtual_time += bytes / std::max(group.weight, flow.terms_.weight);
  double shares = 0.0;
  double least_group = group.tag;
  for (const auto& [name, other] : groups_) {
    shares += other.members > 0 ? other.share : 0.0;
  }
  virtual_time_ += bytes / shares;
  double least = flow.tag_;
  for (const Flow* other : waiting_) {
    least_group = std::min(least_group, other->group_->tag);
    least = other->group_ == &group ? std::min(least, other->tag_) : least;
  }
  virtual_time_ = std::max(virtual_time_, least_group);
  group.virtual_time = std::max(group.virtual_time, least);
}

LinkPacer::Flow* LinkPacer::choose(Time now) {
  Flow* flow = beginnings_.level >= cost_ ? who_begins() : nullptr;
  Bucket* allowance = &beginnings_;
  if (flow == nullptr && reserved_.level >= cost_) {
    flow = who_is_behind(now);
    allowance = &reserved_;
  }
  if (flow == nullptr) {
    flow = fair_turn();
    flow->allowance_ = nullptr;
    return flow;
  }
  flow->allowance_ = allowance;
  allowance->level -= cost_;
  return flow;
}

LinkPacer::Flow* LinkPacer::next(Time now) {
  fill(now);
  if (waiting_.empty() || link_.level < cost_) {
    return nullptr;
  }
  Flow* flow = choose(now);
  link_.level -= cost_;
  std::erase(waiting_, flow);
  flow->state_ = Flow::State::kTurn;
  return flow;
}

std::optional<LinkPacer::Time> LinkPacer::ready_at(Time now) {
  if (waiting_.empty()) {
    return std::nullopt;
  }
  fill(now);
  return after(now, std::max(0.0, cost_ - link_.level) / link_.rate);
}

void LinkPacer::sent(Flow& flow, std::int64_t payload, std::int64_t rest, bool is_tls, Time now) {
  CHECK(flow.has_turn(), "sent out of turn");
  const auto used = static_cast<double>(wire_bytes(payload, is_tls));
  give_back(flow, cost_ - used);
  count_fairly(flow, used);
  const double expected =
      std::max(flow.waiting_bytes_, flow.terms_.expected_bytes - flow.sent_bytes_);
  const double rate = needed_rate(flow, expected, now);
  if (rate > 0.0) {
    flow.due_ = after(std::max(flow.due_, now - kMostLag), used / rate);
  }
  flow.sent_bytes_ += used;
  if (rest > 0) {
    line_up(flow, rest, now);
  } else {
    go(flow);
    flow.waiting_bytes_ = 0.0;
    flow.state_ = Flow::State::kIdle;
  }
}

double LinkPacer::waiting_bytes() const {
  double bytes = 0.0;
  for (const Flow* flow : waiting_) {
    bytes += flow->waiting_bytes_;
  }
  return bytes;
}

double LinkPacer::needed_bytes_per_s(Time now) const {
  double rate = 0.0;
  for (const Flow* flow : waiting_) {
    rate += needed_rate(*flow, flow->waiting_bytes_, now);
  }
  return rate;
}

}  // namespace edgewise::net
