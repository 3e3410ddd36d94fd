// A model without engine, service or text: what the measuring commands (bench, perplexity) run. One
// thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cache/kv_cache.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "platform/worker_pool.h"

namespace edgewise::app {

struct BareModel {
  std::shared_ptr<const tensor::ModelFile> file;
  std::unique_ptr<platform::WorkerPool> pool;
  std::unique_ptr<kernels::Ops> ops;
  std::unique_ptr<model::Model> model;
};

// threads 0: what affinity and cgroup allow. Shows progress on a terminal.
Result<BareModel> load_bare_model(const std::string& argument,
                                  std::int64_t threads,
                                  bool oracle,
                                  bool shortlist = false);

// A cache for `sequences` sequences of `positions` positions each.
Result<std::unique_ptr<cache::KvCache>> create_cache(const model::Model& model,
                                                     std::int64_t sequences,
                                                     std::int64_t positions,
                                                     kernels::KvType type);

// The blocks of one sequence, given back at the end.
class SequenceBlocks {
 public:
  explicit SequenceBlocks(cache::KvCache& cache) : cache_(&cache) {}

  SequenceBlocks(SequenceBlocks&& other) noexcept
      : cache_(other.cache_), blocks_(std::move(other.blocks_)) {
    other.blocks_.clear();
  }

  SequenceBlocks& operator=(SequenceBlocks&&) = delete;
  ~SequenceBlocks();

  // Requires: the cache was created large enough.
  std::span<const cache::BlockId> grow_to(std::int64_t positions);

 private:
  cache::KvCache* cache_;
  std::vector<cache::BlockId> blocks_;
};

}  // namespace edgewise::app
