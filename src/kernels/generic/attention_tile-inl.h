// Which rows of a tile of attention meet which keys. Included by attention_block-inl.h. No include guard on purpose.

inline constexpr std::int64_t kLanes = 16;
inline constexpr std::int64_t kPanels = kKeyBlock / kLanes;
// Below every score, and finite, so that its distance to itself is 0.
inline constexpr float kLowest = -3.0e38F;

inline constexpr std::int64_t round_up_16(std::int64_t n) {
  return (n + 15) / 16 * 16;
}

struct AttentionTile {
  const AttentionShape& shape;
  const AttentionTask& task;
  std::int64_t group;  // query heads per KV head
  std::int64_t rows;   // (token, head of the group) pairs, token-major

  std::int64_t token(std::int64_t row) const { return task.token_begin + row / group; }

  const float* query(std::int64_t row) const {
    return task.q + token(row) * task.q_stride +
           (task.kv_head * group + row % group) * shape.head_dim;
  }

  float* output(std::int64_t row) const {
    return task.out + token(row) * task.out_stride +
           (task.kv_head * group + row % group) * shape.value_dim;
  }

  // Keys [first, last] that a token may see.
  std::int64_t first_key(std::int64_t token) const {
    const std::int64_t position = task.first_position + token;
    return shape.window > 0 && position >= shape.window ? position - shape.window + 1 : 0;
  }

  std::int64_t last_key(std::int64_t token) const {
    return shape.causal ? task.first_position + token : task.kv_length - 1;
  }
};

inline AttentionTile tile_of(const AttentionTask& task) {
  const std::int64_t group = task.shape->heads / task.shape->kv_heads;
  return {*task.shape, task, group, (task.token_end - task.token_begin) * group};
}

// What of a tile meets a block: both bounds grow with the token, so the rows are contiguous.
struct BlockRows {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool is_edge = false;  // some row does not see all 64 keys
};

inline BlockRows rows_of_block(const AttentionTile& tile, std::int64_t block) {
  const std::int64_t base = block * kKeyBlock;
  std::int64_t first = tile.task.token_begin;
  std::int64_t last = tile.task.token_end;
  while (first < last && tile.last_key(first) < base) {
    ++first;
  }
  while (first < last && tile.first_key(last - 1) >= base + kKeyBlock) {
    --last;
  }
  if (first == last) {
    return {};
  }
  const bool sees_all =
      tile.last_key(first) >= base + kKeyBlock - 1 && tile.first_key(last - 1) <= base;
  return {(first - tile.task.token_begin) * tile.group, (last - tile.task.token_begin) * tile.group,
          !sees_all};
}

// The keys of a block that a range of rows sees, relative to the block.
struct KeyRange {
  std::int64_t begin = 0;
  std::int64_t end = kKeyBlock;
};

inline KeyRange keys_of_rows(const AttentionTile& tile,
                             std::int64_t block,
                             std::int64_t row_begin,
                             std::int64_t row_end) {
  const std::int64_t base = block * kKeyBlock;
  return {std::max<std::int64_t>(tile.first_key(tile.token(row_begin)) - base, 0),
          std::min(tile.last_key(tile.token(row_end - 1)) - base + 1, kKeyBlock)};
}
