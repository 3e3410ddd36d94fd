#include "text/special_tokens.h"

#include <algorithm>

namespace edgewise::text {
namespace {

bool is_ascii_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

unsigned char byte_at(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

}  // namespace

SpecialTokens::SpecialTokens(const Vocabulary& vocabulary, std::vector<Strip> strips)
    : vocabulary_(&vocabulary), strips_(std::move(strips)) {
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary.is(id, kControl | kUserDefined | kUnknown) && !vocabulary.text(id).empty()) {
      by_text_.push_back(id);
    }
  }
  std::sort(by_text_.begin(), by_text_.end(),
            [&](TokenId a, TokenId b) { return vocabulary.text(a) < vocabulary.text(b); });
  first_byte_ranges_.assign(257, 0);
  for (const TokenId id : by_text_) {
    ++first_byte_ranges_[byte_at(vocabulary.text(id), 0) + 1u];
  }
  for (std::size_t i = 1; i < first_byte_ranges_.size(); ++i) {
    first_byte_ranges_[i] += first_byte_ranges_[i - 1];
  }
  std::sort(strips_.begin(), strips_.end(),
            [](const Strip& a, const Strip& b) { return a.token < b.token; });
}

void SpecialTokens::find_occurring(std::string_view text, std::vector<bool>& seen) const {
  for (std::size_t begin = 0; begin < text.size(); ++begin) {
    std::size_t low = first_byte_ranges_[byte_at(text, begin)];
    std::size_t high = first_byte_ranges_[byte_at(text, begin) + 1u];
    // [low, high) are the tokens that begin with text[begin, begin + depth).
    for (std::size_t depth = 1; low < high; ++depth) {
      // A shorter text sorts before the longer ones that begin with it; equal texts are equal
      // tokens.
      while (low < high && vocabulary_->text(by_text_[low]).size() == depth) {
        seen[low++] = true;
      }
      if (low == high || begin + depth >= text.size()) {
        break;
      }
      const unsigned char next = byte_at(text, begin + depth);
      const auto byte_of = [&](TokenId id) { return byte_at(vocabulary_->text(id), depth); };
      const auto first = by_text_.begin() + static_cast<std::ptrdiff_t>(low);
      const auto last = by_text_.begin() + static_cast<std::ptrdiff_t>(high);
      const auto from =
          std::partition_point(first, last, [&](TokenId id) { return byte_of(id) < next; });
      const auto to =
          std::partition_point(from, last, [&](TokenId id) { return byte_of(id) == next; });
      low = static_cast<std::size_t>(from - by_text_.begin());
      high = static_cast<std::size_t>(to - by_text_.begin());
    }
  }
}

std::vector<Fragment> SpecialTokens::split(std::string_view text, bool parse_special) const {
  std::vector<Fragment> fragments;
  if (text.empty()) {
    return fragments;
  }
  fragments.push_back({text, -1});
  std::vector<bool> seen(by_text_.size());
  find_occurring(text, seen);
  std::vector<TokenId> occurring;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (seen[i] && (parse_special || !vocabulary_->is(by_text_[i], kControl | kUnknown))) {
      occurring.push_back(by_text_[i]);
    }
  }
  std::sort(occurring.begin(), occurring.end(), [&](TokenId a, TokenId b) {
    const std::size_t size_a = vocabulary_->text(a).size(), size_b = vocabulary_->text(b).size();
    return size_a != size_b ? size_a > size_b : a < b;
  });
  std::vector<Fragment> next;
  for (const TokenId token : occurring) {
    const std::string_view spelling = vocabulary_->text(token);
    const auto strip = std::lower_bound(strips_.begin(), strips_.end(), token,
                                        [](const Strip& s, TokenId id) { return s.token < id; });
    const bool strips = strip != strips_.end() && strip->token == token;
    next.clear();
    for (const Fragment& fragment : fragments) {
      std::string_view rest = fragment.text;
      if (fragment.token >= 0) {
        next.push_back(fragment);
        continue;
      }
      for (std::size_t match = rest.find(spelling); match != std::string_view::npos;
           match = rest.find(spelling)) {
        std::string_view left = rest.substr(0, match);
        rest.remove_prefix(match + spelling.size());
        while (strips && strip->left && !left.empty() && is_ascii_space(left.back())) {
          left.remove_suffix(1);
        }
        while (strips && strip->right && !rest.empty() && is_ascii_space(rest.front())) {
          rest.remove_prefix(1);
        }
        if (!left.empty()) {
          next.push_back({left, -1});
        }
        next.push_back({{}, token});
      }
      if (!rest.empty()) {
        next.push_back({rest, -1});
      }
    }
    fragments.swap(next);
  }
  return fragments;
}

}  // namespace edgewise::text
