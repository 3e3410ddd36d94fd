// Gives each request to this server's engine or to another server's, all that wait together: admission::dispatch over how
// the engines stand, whenever one has come, one of them stands differently, or a moment has passed.
//
// Requests wait here, not in the engines, so that each goes to whoever has time first (docs/serving.md, Several servers).
//
// Threads: its own, which decides. Any thread may call.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "admission/dispatch.h"
#include "api/placement.h"
#include "nodes/market.h"
#include "nodes/node.h"
#include "nodes/place.h"
#include "nodes/prefix_memory.h"

namespace edgewise::nodes {

class Dispatcher final : public api::Placement {
 public:
  using Clock = Node::Clock;

  // `here`: this server's models, whose engines keep their load at hand (EngineOptions::forecasts).
  Dispatcher(std::vector<std::shared_ptr<api::Backend>> here, std::vector<NodeOptions> nodes);
  ~Dispatcher() override;  // stop()

  bool concerns(api::ServedModels::Members models) const override;
  double best_accuracy(std::string_view group) const override;
  void place(std::unique_ptr<api::PlacedRequest> request) override;
  api::PlacementStats stats() const override;
  void stop() override;

 private:
  // A request on its way to an engine whose load does not have it yet.
  struct Sent {
    admission::Prospect prospect;
    std::int64_t sequences = 1;
    Clock::time_point at;
    std::shared_ptr<std::atomic<bool>> is_over;  // it has arrived there, or ended
  };

  void decide_until_stopped();
  void take_in(std::vector<Entry> arrived);
  void drop_gone();
  void decide();
  std::vector<Place> places();
  void add_sent(Clock::time_point known_at, Place& place);
  void open_markets(const std::vector<Place>& places, Clock::time_point now);
  std::vector<std::size_t> offered(const std::vector<Place>& places, Clock::time_point now) const;
  static bool answer_late(Entry& entry, const std::vector<Place>& places, Clock::time_point now);
  std::vector<const Place*> assign(const std::vector<std::size_t>& offered,
                                   const std::vector<Place>& places,
                                   Clock::time_point now);
  void send_ahead(const std::vector<std::size_t>& offered,
                  std::vector<Place>& places,
                  Clock::time_point now,
                  std::vector<const Place*>& where);
  void send(Entry entry, const Place& place);
  void send_here(api::PlacedRequest& request, const Place& place, Sent& sent);
  void take_back(Entry entry, const Node& node, bool was_lost);
  void hand_in(Entry entry);  // any thread: to be decided about

  const std::vector<std::shared_ptr<api::Backend>> here_;
  std::vector<std::unique_ptr<Node>> nodes_;

  // The deciding thread's.
  std::vector<Entry> waiting_;
  std::map<std::string, std::vector<Sent>> sent_;  // by place
  PrefixMemory prefixes_;
  std::map<std::string, Market> markets_;  // by the name that is asked for

  mutable Mutex mutex_;
  Condition woken_;
  bool stop_ EDGEWISE_GUARDED_BY(mutex_) = false;
  bool wakes_ EDGEWISE_GUARDED_BY(mutex_) = false;
  std::vector<Entry> arrived_ EDGEWISE_GUARDED_BY(mutex_);
  api::PlacementStats counts_ EDGEWISE_GUARDED_BY(mutex_);
  std::thread deciding_;
};

}  // namespace edgewise::nodes
