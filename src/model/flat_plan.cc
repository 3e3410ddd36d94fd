#include "model/flat_plan.h"

#include "base/check.h"

namespace edgewise::model {

cache::BlockId FlatPlan::block(std::int64_t row) const {
  const Part& part = parts[static_cast<std::size_t>(part_of[static_cast<std::size_t>(row)])];
  return part.segment->blocks[static_cast<std::size_t>(positions[static_cast<std::size_t>(row)] /
                                                       kernels::kKeyBlock)];
}

void FlatPlan::assign(const StepPlan& plan, const ModelSpec& spec) {
  parts.clear();
  tokens.clear();
  positions.clear();
  part_of.clear();
  wanted.clear();
  for (const Segment& segment : plan.segments) {
    const std::int64_t count = std::ssize(segment.tokens);
    const std::int64_t end = segment.first_position + count;
    CHECK(count > 0 && segment.first_position >= 0, "an empty segment");
    CHECK(end <= std::ssize(segment.blocks) * kernels::kKeyBlock, "{} blocks for {} positions",
          segment.blocks.size(), end);
    CHECK(!spec.absolute_positions || end <= spec.context, "position {} of {}", end, spec.context);
    CHECK(spec.causal || segment.first_position == 0,
          "an encoder needs the whole text in one segment");
    CHECK(spec.generates || segment.want == Want::kEmbedding || segment.want == Want::kNothing,
          "{} has no logits", spec.architecture);
    Part part{&segment, rows(), std::ssize(wanted), 0};
    for (std::int64_t i = 0; i < count; ++i) {
      const TokenId token = segment.tokens[static_cast<std::size_t>(i)];
      CHECK(token >= 0 && token < spec.vocab, "token {} of {}", token, spec.vocab);
      const bool all = segment.want == Want::kAllLogits || segment.want == Want::kEmbedding;
      if (all || (segment.want == Want::kLastLogits && i == count - 1)) {
        wanted.push_back(rows());
        ++part.wanted;
      }
      tokens.push_back(token);
      positions.push_back(segment.first_position + i);
      part_of.push_back(std::ssize(parts));
    }
    parts.push_back(part);
  }
}

std::vector<cache::KvLayerShape> kv_shapes_of(const ModelSpec& spec) {
  std::vector<cache::KvLayerShape> shapes;
  for (const LayerSpec& layer : spec.layers) {
    shapes.push_back({layer.kv_heads, spec.head_dim, spec.value_dim});
  }
  return shapes;
}

}  // namespace edgewise::model
