#include "reuse/page_key.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/kernel_table.h"
#include "platform/checksum.h"

namespace edgewise::reuse {
namespace {

using platform::Sha256;

constexpr std::int64_t kProbeTokens = 8;

void add_text(Sha256& sum, std::string_view text) {
  sum.add(std::as_bytes(std::span(text)));
}

// The keys and values of some tokens from all over the vocabulary.
void add_probe(Sha256& sum, model::Model& model, cache::KvCache& cache) {
  const model::ModelSpec& spec = model.spec();
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < std::min(kProbeTokens, spec.context); ++i) {
    tokens.push_back(static_cast<TokenId>(spec.vocab * i / kProbeTokens));
  }
  const auto block = cache.allocate();
  CHECK(block.has_value(), "a new cache has no free block");
  const std::vector<cache::BlockId> blocks{*block};
  model.forward({{{tokens, 0, blocks, model::Want::kNothing}}}, cache);
  sum.add(cache.bytes(*block));
  cache.release(*block);
}

}  // namespace

Result<cache::PageKey> model_key(std::string_view label,
                                 model::Model& model,
                                 cache::KvCache& cache) {
  const platform::MappedFile program = TRY(platform::MappedFile::open("/proc/self/exe"));
  Sha256 sum;
  add_text(sum, fmt::format("edgewise KV pages 1\nprogram {:016x}\nblock {} positions, {}\n{}\n",
                            platform::checksum(program.bytes()), kernels::kKeyBlock,
                            kernels::kv_type_name(cache.type()), label));
  add_probe(sum, model, cache);
  return sum.finish();
}

cache::PageKey tenant_key(const cache::PageKey& model, std::string_view tenant) {
  Sha256 sum;
  sum.add(model);
  add_text(sum, tenant);
  return sum.finish();
}

cache::PageKey next_key(const cache::PageKey& before, std::span<const TokenId> tokens) {
  CHECK(std::ssize(tokens) == kernels::kKeyBlock, "{} tokens are no whole block", tokens.size());
  Sha256 sum;
  sum.add(before);
  sum.add(std::as_bytes(tokens));
  return sum.finish();
}

}  // namespace edgewise::reuse
