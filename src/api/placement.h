// Where a request is answered when other servers can answer it, too: the seam between the routes and src/nodes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/generation_job.h"
#include "api/placement_stats.h"
#include "api/served_models.h"
#include "api/service_level.h"

namespace edgewise::api {

// A request that was checked and let in by its key's limits, and is not being answered yet.
struct PlacedRequest {
  std::string name;              // as the model is called: its own name, or its group's
  std::vector<std::string> ids;  // the models of this server that are called so
  std::vector<std::shared_ptr<Backend>> here;  // those of them that are accurate enough
  admission::Prospect prospect;                // of the longest of its prompts
  // Of the longest prompt: hashes of its first block of tokens, its first two, and so on.
  static constexpr std::size_t kBlock = 64;
  std::vector<std::uint64_t> beginnings;
  std::int64_t prompt_tokens = 0;  // of all its prompts
  std::int64_t sequences = 1;      // all its answers
  ServiceLevel service;
  std::string tenant;  // as in engine::Request, and so the next
  double share = 1.0;
  std::string path;  // of its route
  std::string
      fields;  // members of its JSON, each with a comma before it, but for the model and deadlines
  Reply reply;
  KeyLimits::Ticket ticket;
  // Has a model of this server answer: gives `reply` and `ticket` away. `started`: it is in the model's engine now, or
  // was refused. Returns at once.
  std::function<void(std::shared_ptr<Backend> model,
                     Reply reply,
                     KeyLimits::Ticket ticket,
                     std::function<void()> started)>
      answer_here;
};

class Placement {
 public:
  virtual ~Placement() = default;

  // Whether another server is known to have one of these models, or a member of their group.
  virtual bool concerns(ServedModels::Members models) const = 0;
  // The best that is known of the group's members elsewhere; 0: none, or not measured.
  virtual double best_accuracy(std::string_view group) const = 0;
  virtual void place(std::unique_ptr<PlacedRequest> request) = 0;
  virtual PlacementStats stats() const = 0;
  virtual void stop() = 0;  // cuts what is being answered elsewhere, and what waits; joins threads
};

}  // namespace edgewise::api
