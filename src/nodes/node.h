// Another server that has models of this one: how it stands, asked again and again, and what is being answered there.
//
// Threads: one that asks, one for each request that it answers. Any thread may call.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "api/load_json.h"
#include "api/placement.h"
#include "base/mutex.h"
#include "nodes/forward.h"

namespace edgewise::nodes {

struct NodeOptions {
  std::string url;                                // "http://10.0.0.2:8080", no path
  std::string key = {};                           // empty: none is sent
  std::string authorities_file = {};              // PEM; empty: the system's
  std::set<std::string, std::less<>> names = {};  // of this server's models and groups
  // It is of no use if it does not keep requests of several tenants apart.
  bool must_name_tenants = false;
};

class Node {
 public:
  using Clock = std::chrono::steady_clock;

  // What becomes of a request that was given to it. Called on threads of the node's, or at once.
  struct Receiver {
    // It did not answer, and the client was told nothing. `was_lost`: it vanished while it had the request.
    std::function<void(std::unique_ptr<api::PlacedRequest> request, bool was_lost)> give_back;
    std::shared_ptr<std::atomic<bool>> is_over;  // set when it has ended there
  };

  // What it told.
  struct Told {
    api::ServerLoad load;
    Clock::time_point asked_at;
  };

  // Asks from here on; `changed`: it stands differently, or has finished an answer.
  Node(NodeOptions options, std::function<void()> changed);
  ~Node();  // stop()

  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const std::string& url() const { return options_.url; }

  std::shared_ptr<const Told> told() const;   // null: it does not answer, or takes nothing new
  bool has_had(std::string_view name) const;  // a model, or a member of a group
  void look_soon();                           // somebody waits for how it stands

  void forward(std::unique_ptr<api::PlacedRequest> request,
               const std::string& model,
               Receiver receiver);
  api::PlacementStats::Node stats() const;
  void begin_stop();  // lets go of everything; stop() waits until it has
  void stop();

 private:
  struct Work {
    std::jthread thread;
    bool is_done = false;
  };

  void ask_until_stopped();
  Result<api::ServerLoad> ask() const;
  void give_up_silent(ErrorCode error, Clock::time_point asked_at) EDGEWISE_REQUIRES(mutex_);
  void take(Result<api::ServerLoad> answer, Clock::time_point asked_at);
  bool begin(const std::shared_ptr<std::unique_ptr<api::PlacedRequest>>& request,
             const std::shared_ptr<const Receiver>& receiver,
             const std::string& model);
  void answer(std::unique_ptr<api::PlacedRequest> request,
              const Target& target,
              const Receiver& receiver,
              const std::stop_token& stop,
              bool& is_done);
  std::list<Work> take_done() EDGEWISE_REQUIRES(mutex_);

  const NodeOptions options_;
  const std::function<void()> changed_;
  mutable Mutex mutex_;
  Condition woken_;
  bool stop_ EDGEWISE_GUARDED_BY(mutex_) = false;
  bool asks_now_ EDGEWISE_GUARDED_BY(mutex_) = false;
  Clock::time_point busy_until_ EDGEWISE_GUARDED_BY(mutex_);
  std::optional<Clock::time_point> silent_since_
      EDGEWISE_GUARDED_BY(mutex_);                      // no answer of any kind
  int timeouts_ EDGEWISE_GUARDED_BY(mutex_) = 0;        // of questions, since then
  bool was_usable_ EDGEWISE_GUARDED_BY(mutex_) = true;  // so that the first failure is told
  std::shared_ptr<const Told> told_ EDGEWISE_GUARDED_BY(mutex_);
  std::set<std::string, std::less<>> had_ EDGEWISE_GUARDED_BY(mutex_);  // of the names
  std::list<Work> works_ EDGEWISE_GUARDED_BY(mutex_);
  api::PlacementStats::Node counts_ EDGEWISE_GUARDED_BY(mutex_);
  std::stop_source asking_stop_;
  std::thread asking_;
};

}  // namespace edgewise::nodes
