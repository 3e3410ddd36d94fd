// The names of KV blocks on disk. A block's key is a hash over everything that decides its bits: the
// program and model, whose text it is (its tenant), and every token up to its end. So equal keys mean
// equal bytes, and who does not know a tenant's secret name can neither find nor guess his pages.
#pragma once

#include <span>
#include <string_view>

#include "base/ids.h"
#include "cache/page_store.h"
#include "model/model.h"

namespace edgewise::reuse {

// `label` names the model's files. What the model makes of a fixed text goes in as well, so that
// other weights, other arithmetic or another layout are other pages without anybody having to list
// what could differ; and the program's own bytes, so that only what made a page reads it. Needs a
// free block, and takes the time of a short prompt.
Result<cache::PageKey> model_key(std::string_view label,
                                 model::Model& model,
                                 cache::KvCache& cache);

cache::PageKey tenant_key(const cache::PageKey& model, std::string_view tenant);

// Of the block with these 64 tokens after the block (or, at the beginning, tenant) `before`.
cache::PageKey next_key(const cache::PageKey& before, std::span<const TokenId> tokens);

}  // namespace edgewise::reuse
