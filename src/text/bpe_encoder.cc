#include "text/bpe_encoder.h"

#include <algorithm>
#include <limits>

#include "text/spelling.h"
#include "text/unicode.h"

namespace edgewise::text {
namespace {

// Up to here a scan for the lowest rank per merge is faster than a heap; nearly all words are
// shorter.
constexpr std::size_t kLongestScanned = 48;
constexpr TokenId kSwallowed = -2;  // the token of a symbol that became part of its left neighbour
constexpr std::uint32_t kNoRank = std::numeric_limits<std::uint32_t>::max();

std::uint64_t pair_key(TokenId left, TokenId right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
         static_cast<std::uint32_t>(right);
}

}  // namespace

Result<BpeEncoder> BpeEncoder::create(const tensor::Metadata& metadata,
                                      const Vocabulary& vocabulary,
                                      PreTokenizer pre_tokenizer) {
  const tensor::TextList* merges = metadata.strings("tokenizer.ggml.merges");
  if (merges == nullptr) {
    return fail(ErrorCode::kCorrupt,
                "tokenizer.ggml.merges is missing: a byte-pair vocabulary needs its merges");
  }
  BpeEncoder encoder(vocabulary, std::move(pre_tokenizer));
  TRY_VOID(encoder.read_merges(*merges));
  return encoder;
}

Result<void> BpeEncoder::read_merges(const tensor::TextList& merges) {
  std::size_t size = 16;
  while (size < merges.size() * 3 / 2) {
    size *= 2;
  }
  merges_.resize(size);
  seed_ = random_seed();
  const Spelling spelling =
      pre_tokenizer_.traits().space_marks ? Spelling::kSpaceMarks : Spelling::kByteCharacters;
  std::string bytes;
  TokenId next = 0;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    // "left right", parted by the first space that is not the first character.
    const std::string_view merge = merges[i];
    const std::size_t space = merge.find(' ', 1);
    bytes.clear();
    bool spelled =
        space != std::string_view::npos && append_spelled(spelling, merge.substr(0, space), bytes);
    const std::size_t split = bytes.size();
    spelled = spelled && append_spelled(spelling, merge.substr(space + 1), bytes);
    const std::string_view whole = bytes;
    const TokenId left = spelled ? vocabulary_->find(whole.substr(0, split)) : -1;
    const TokenId right = spelled ? vocabulary_->find(whole.substr(split)) : -1;
    // Most vocabularies list the merged tokens in the order of the merges, which spares a look-up.
    const bool is_next = vocabulary_->contains(next) && vocabulary_->bytes(next) == whole;
    const TokenId merged = !spelled ? -1 : is_next ? next : vocabulary_->find(whole);
    next = merged + 1;
    if (left < 0 || right < 0 || merged < 0) {
      return fail(ErrorCode::kCorrupt,
                  "tokenizer.ggml.merges[{}] does not name two tokens of the vocabulary whose "
                  "union is one too",
                  i);
    }
    const std::uint64_t key = pair_key(left, right);
    Merge& slot = merges_[slot_of(key)];
    if (slot.merged < 0) {  // of equal pairs the first counts
      slot = {key, static_cast<std::uint32_t>(i), merged};
    }
  }
  return {};
}

std::size_t BpeEncoder::slot_of(std::uint64_t key) const {
  const std::size_t mask = merges_.size() - 1;
  std::size_t slot = static_cast<std::size_t>(fold_product(key ^ seed_, 0xe7037ed1a0b428db)) & mask;
  while (merges_[slot].merged >= 0 && merges_[slot].pair != key) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

const BpeEncoder::Merge* BpeEncoder::find_merge(TokenId left, TokenId right) const {
  if (left < 0 || right < 0) {
    return nullptr;
  }
  const Merge& slot = merges_[slot_of(pair_key(left, right))];
  return slot.merged >= 0 ? &slot : nullptr;
}

void BpeEncoder::encode(std::string_view text, std::vector<TokenId>& out) const {
  std::string unmarked;
  if (pre_tokenizer_.traits().space_marks && text.find(kSpaceMark) != std::string_view::npos) {
    append_without_space_marks(text, unmarked);  // a mark in the text is the same as a space
    text = unmarked;
  }
  Scratch scratch;
  std::size_t begin = 0;
  for (const std::size_t end : pre_tokenizer_.split(text)) {
    encode_word(text.substr(begin, end - begin), scratch, out);
    begin = end;
  }
}

void BpeEncoder::encode_word(std::string_view word,
                             Scratch& scratch,
                             std::vector<TokenId>& out) const {
  const PreTokenizer::Traits& traits = pre_tokenizer_.traits();
  // Vocabularies with space marks have line ends as whole tokens that no merge makes.
  if (traits.whole_words_first || (traits.space_marks && word.front() == '\n')) {
    if (const TokenId token = vocabulary_->find(word); token >= 0) {
      out.push_back(token);
      return;
    }
  }
  split_symbols(word, scratch.symbols);
  if (scratch.symbols.size() <= kLongestScanned) {
    merge_short(scratch.symbols);
  } else {
    merge_long(scratch);
  }
  append_tokens(word, scratch.symbols, out);
}

void BpeEncoder::split_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  const bool by_character = pre_tokenizer_.traits().space_marks;
  for (std::size_t i = 0; i < word.size();) {
    const std::size_t length = by_character ? decode_code_point(word, i).length : 1;
    const TokenId token = by_character
                              ? vocabulary_->find(word.substr(i, length))
                              : vocabulary_->byte_token(static_cast<std::uint8_t>(word[i]));
    const auto index = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({token, index - 1, index + 1, static_cast<std::uint32_t>(i)});
    i += length;
  }
  symbols.back().next = -1;
}

void BpeEncoder::merge_short(std::vector<Symbol>& symbols) const {
  std::uint32_t ranks[kLongestScanned];
  TokenId merged[kLongestScanned];
  const auto rank_pair = [&](std::size_t i) {
    const Merge* merge =
        i + 1 < symbols.size() ? find_merge(symbols[i].token, symbols[i + 1].token) : nullptr;
    ranks[i] = merge == nullptr ? kNoRank : merge->rank;
    merged[i] = merge == nullptr ? -1 : merge->merged;
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    rank_pair(i);
  }
  for (;;) {
    const std::size_t best =
        static_cast<std::size_t>(std::min_element(ranks, ranks + symbols.size()) - ranks);
    if (ranks[best] == kNoRank) {
      return;
    }
    symbols[best].token = merged[best];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    std::copy(ranks + best + 2, ranks + symbols.size() + 1, ranks + best + 1);
    std::copy(merged + best + 2, merged + symbols.size() + 1, merged + best + 1);
    rank_pair(best);
    if (best > 0) {
      rank_pair(best - 1);
    }
  }
}

void BpeEncoder::merge_long(Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<Candidate>& heap = scratch.heap;
  const auto is_later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  };
  const auto candidate = [&](std::int32_t left, std::int32_t right) -> bool {
    if (left < 0 || right < 0) {
      return false;
    }
    const Symbol& l = symbols[static_cast<std::size_t>(left)];
    const Symbol& r = symbols[static_cast<std::size_t>(right)];
    const Merge* merge = find_merge(l.token, r.token);
    if (merge != nullptr) {
      heap.push_back({merge->rank, static_cast<std::uint32_t>(left),
                      static_cast<std::uint32_t>(right), l.token, r.token, merge->merged});
    }
    return merge != nullptr;
  };
  heap.clear();
  for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(symbols.size()); ++i) {
    candidate(i, i + 1);
  }
  std::make_heap(heap.begin(), heap.end(), is_later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), is_later);
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[best.right];
    // A part of this pair may have been merged with something else since; a swallowed symbol has no
    // token.
    if (left.token != best.left_token || right.token != best.right_token ||
        left.next != static_cast<std::int32_t>(best.right)) {
      continue;
    }
    left.token = best.merged;
    left.next = right.next;
    right.token = kSwallowed;
    if (left.next >= 0) {
      symbols[static_cast<std::size_t>(left.next)].previous = static_cast<std::int32_t>(best.left);
    }
    if (candidate(left.previous, static_cast<std::int32_t>(best.left))) {
      std::push_heap(heap.begin(), heap.end(), is_later);
    }
    if (candidate(static_cast<std::int32_t>(best.left), left.next)) {
      std::push_heap(heap.begin(), heap.end(), is_later);
    }
  }
  std::erase_if(symbols, [](const Symbol& symbol) { return symbol.token == kSwallowed; });
}

void BpeEncoder::append_tokens(std::string_view word,
                               const std::vector<Symbol>& symbols,
                               std::vector<TokenId>& out) const {
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (symbols[i].token >= 0) {
      out.push_back(symbols[i].token);
      continue;
    }
    const std::size_t end = i + 1 < symbols.size() ? symbols[i + 1].offset : word.size();
    for (std::size_t b = symbols[i].offset; b < end; ++b) {
      if (const TokenId token = vocabulary_->byte_token(static_cast<std::uint8_t>(word[b]));
          token >= 0) {
        out.push_back(token);
      }
    }
  }
}

}  // namespace edgewise::text
