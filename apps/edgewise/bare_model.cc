#include "bare_model.h"

#include "base/check.h"
#include "input.h"
#include "model_argument.h"
#include "platform/cpu.h"
#include "terminal.h"

namespace edgewise::app {

Result<BareModel> load_bare_model(const std::string& argument,
                                  std::int64_t threads,
                                  bool oracle,
                                  bool shortlist) {
  TRY_VOID(check_range("--threads", threads, 0, 1024));
  BareModel bare;
  bare.file = TRY(open_model_file(argument));
  const kernels::KernelTable* table = TRY(kernels::select_table());
  bare.pool = std::make_unique<platform::WorkerPool>(threads == 0 ? platform::usable_cpus()
                                                                  : static_cast<int>(threads));
  bare.ops = std::make_unique<kernels::Ops>(*bare.pool, *table);
  ProgressLine progress("loading");
  model::LoadOptions options{
      .oracle = oracle,
      .shortlist = shortlist,
      .packed_folder = TRY(packed_folder_of(bare.file->path())),
      .on_progress = [&](double fraction) { progress.show_fraction(fraction); }};
  bare.model = TRY(model::Model::load(bare.file, *bare.ops, options));
  return bare;
}

Result<std::unique_ptr<cache::KvCache>> create_cache(const model::Model& model,
                                                     std::int64_t sequences,
                                                     std::int64_t positions,
                                                     kernels::KvType type) {
  const std::int64_t blocks = sequences * cache::blocks_for(positions);
  const std::vector<cache::KvLayerShape> shapes = model.kv_shapes();
  const std::int64_t needed = blocks * cache::KvCache::block_bytes(shapes, type);
  if (needed > platform::available_memory_bytes()) {
    return fail(ErrorCode::kResourceExhausted,
                "{} sequences of {} positions need {} of key/value cache, but only {} of memory is "
                "available; ask for fewer or shorter ones",
                sequences, positions, human_bytes(static_cast<double>(needed)),
                human_bytes(static_cast<double>(platform::available_memory_bytes())));
  }
  return cache::KvCache::create(shapes, blocks, type);
}

SequenceBlocks::~SequenceBlocks() {
  for (const cache::BlockId block : blocks_) {
    cache_->release(block);
  }
}

std::span<const cache::BlockId> SequenceBlocks::grow_to(std::int64_t positions) {
  while (std::ssize(blocks_) * kernels::kKeyBlock < positions) {
    const std::optional<cache::BlockId> block = cache_->allocate();
    CHECK(block.has_value(), "cache of {} blocks is too small", cache_->capacity());
    blocks_.push_back(*block);
  }
  return blocks_;
}

}  // namespace edgewise::app
