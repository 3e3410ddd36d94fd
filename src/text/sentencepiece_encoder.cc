#include "text/sentencepiece_encoder.h"

#include <algorithm>

#include "text/spelling.h"
#include "text/unicode.h"

namespace edgewise::text {
namespace {

std::size_t pair_index(char first, char second) {
  return (static_cast<std::size_t>(static_cast<unsigned char>(first)) << 8) |
         static_cast<unsigned char>(second);
}

}  // namespace

SentencePieceEncoder::SentencePieceEncoder(const Vocabulary& vocabulary)
    : vocabulary_(&vocabulary) {
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    const std::string_view bytes = vocabulary.bytes(id);
    for (std::size_t i = 1; i < bytes.size(); ++i) {
      inner_pairs_.set(pair_index(bytes[i - 1], bytes[i]));
    }
  }
}

void SentencePieceEncoder::encode(std::string_view text, std::vector<TokenId>& out) const {
  std::string unmarked;
  if (text.find(kSpaceMark) != std::string_view::npos) {
    append_without_space_marks(text, unmarked);
    text = unmarked;
  }
  // No merge crosses a place whose two bytes are neighbours in no token, so the stretches between
  // such places are independent; nearly all spaces are one. This keeps the heaps small and in
  // cache.
  Scratch scratch;
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= text.size(); ++i) {
    const bool cut = i == text.size() || (!inner_pairs_.test(pair_index(text[i - 1], text[i])) &&
                                          (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80);
    if (cut) {
      encode_stretch(text.substr(begin, i - begin), scratch, out);
      begin = i;
    }
  }
}

void SentencePieceEncoder::encode_stretch(std::string_view text,
                                          Scratch& scratch,
                                          std::vector<TokenId>& out) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  for (std::size_t i = 0; i < text.size();) {
    const std::uint32_t length = decode_code_point(text, i).length;
    const auto index = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({static_cast<std::uint32_t>(i), length, index - 1, index + 1,
                       vocabulary_->find(text.substr(i, length))});
    i += length;
  }
  symbols.back().next = -1;
  merge(text, scratch);
  for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
    const Symbol& symbol = symbols[static_cast<std::size_t>(i)];
    if (symbol.token >= 0) {
      out.push_back(symbol.token);
    } else {
      append_bytes(text.substr(symbol.begin, symbol.length), out);
    }
  }
}

// std heaps put the greatest first: the highest score, then the leftmost.
constexpr auto kIsWorse = [](const auto& a, const auto& b) {
  return a.score != b.score ? a.score < b.score : a.left > b.left;
};

bool SentencePieceEncoder::add_candidate(std::string_view text,
                                         std::int32_t left,
                                         std::int32_t right,
                                         Scratch& scratch) const {
  if (left < 0 || right < 0) {
    return false;
  }
  const Symbol& l = scratch.symbols[static_cast<std::size_t>(left)];
  const Symbol& r = scratch.symbols[static_cast<std::size_t>(right)];
  if (!inner_pairs_.test(pair_index(text[r.begin - 1], text[r.begin]))) {
    return false;
  }
  const std::uint32_t length = l.length + r.length;
  const TokenId token = vocabulary_->find(text.substr(l.begin, length));
  if (token >= 0) {
    scratch.heap.push_back({vocabulary_->score(token), static_cast<std::uint32_t>(left),
                            static_cast<std::uint32_t>(right), length, token});
  }
  return token >= 0;
}

void SentencePieceEncoder::merge(std::string_view text, Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<Candidate>& heap = scratch.heap;
  heap.clear();
  for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(symbols.size()); ++i) {
    add_candidate(text, i, i + 1, scratch);
  }
  std::make_heap(heap.begin(), heap.end(), kIsWorse);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), kIsWorse);
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[best.right];
    // Either side may have grown or been swallowed since.
    if (left.length == 0 || right.length == 0 || left.length + right.length != best.length) {
      continue;
    }
    left.length = best.length;
    left.token = best.token;
    left.next = right.next;
    right.length = 0;
    if (left.next >= 0) {
      symbols[static_cast<std::size_t>(left.next)].previous = static_cast<std::int32_t>(best.left);
    }
    if (add_candidate(text, left.previous, static_cast<std::int32_t>(best.left), scratch)) {
      std::push_heap(heap.begin(), heap.end(), kIsWorse);
    }
    if (add_candidate(text, static_cast<std::int32_t>(best.left), left.next, scratch)) {
      std::push_heap(heap.begin(), heap.end(), kIsWorse);
    }
  }
}

// A vocabulary without byte fallback has one unknown token per character instead.
void SentencePieceEncoder::append_bytes(std::string_view character,
                                        std::vector<TokenId>& out) const {
  const std::size_t before = out.size();
  for (const char byte : character) {
    const TokenId token = vocabulary_->byte_token(static_cast<std::uint8_t>(byte));
    if (token < 0) {
      out.resize(before);
      if (vocabulary_->special().unknown >= 0) {
        out.push_back(vocabulary_->special().unknown);
      }
      return;
    }
    out.push_back(token);
  }
}

}  // namespace edgewise::text
