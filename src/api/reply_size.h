// What answers take on the link: learned from what was sent, by kind of reply. Any thread.
//
// A token costs its text (its log-probabilities) in JSON, and a part of the event that tells it. Streams that wait for the
// link tell many tokens in one event, so the least that a token takes is counted with events of kMostMerged.
#pragma once

#include <array>
#include <cstdint>

#include "base/mutex.h"
#include "engine/engine.h"

namespace edgewise::api {

struct ReplyKind {
  bool chat = false;
  bool stream = false;
  int top_logprobs = -1;  // -1: none are told
};

class ReplySizes {
 public:
  static constexpr int kMostMerged = 16;

  // A reply's tokens took so many bytes of JSON, without what an answer of no tokens takes.
  void observe(const ReplyKind& kind, std::int64_t tokens, double bytes);

  // Bytes of JSON that a token takes, beside its event.
  double token_bytes(const ReplyKind& kind) const;

  // `event_bytes`: of an event that tells nothing; streams only.
  engine::Delivery delivery(const ReplyKind& kind, double event_bytes) const;

 private:
  static std::size_t index_of(const ReplyKind& kind);

  mutable Mutex mutex_;
  // Averages; with log-probabilities for each token told, alternatives included.
  std::array<double, 8> bytes_ EDGEWISE_GUARDED_BY(mutex_) = {6, 60, 6, 60, 6, 80, 6, 80};
};

}  // namespace edgewise::api
