// Test only: a tokenizer whose tokens are given texts; ids 256 and up are control tokens.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace edgewise::chat {

class ToyTokenizer : public text::Tokenizer {
 public:
  static constexpr TokenId kFirstControl = 256;

  ToyTokenizer(std::vector<std::string> texts, std::vector<std::string> controls)
      : texts_(std::move(texts)), controls_(std::move(controls)) {}

  // Byte by byte where `texts` is empty; controls by name.
  std::vector<TokenId> encode(std::string_view text, text::EncodeOptions) const override {
    std::vector<TokenId> out;
    while (!text.empty()) {
      TokenId found = static_cast<unsigned char>(text.front());
      std::size_t length = 1;
      for (std::size_t c = 0; c < controls_.size(); ++c) {
        if (text.starts_with(controls_[c])) {
          found = kFirstControl + static_cast<TokenId>(c);
          length = controls_[c].size();
        }
      }
      out.push_back(found);
      text.remove_prefix(length);
    }
    return out;
  }

  void append_bytes(TokenId token, bool with_special, std::string& out) const override {
    if (is_control(token)) {
      out += with_special ? controls_[static_cast<std::size_t>(token - kFirstControl)] : "";
    } else if (static_cast<std::size_t>(token) < texts_.size()) {
      out += texts_[static_cast<std::size_t>(token)];
    } else {
      out.push_back(static_cast<char>(token));
    }
  }

  std::string decode(std::span<const TokenId> tokens, bool with_special) const override {
    std::string out;
    for (const TokenId token : tokens) {
      append_bytes(token, with_special, out);
    }
    return out;
  }

  std::int64_t vocab_size() const override { return kFirstControl + std::ssize(controls_); }

  std::string_view token_text(TokenId token) const override {
    return is_control(token)
               ? std::string_view(controls_[static_cast<std::size_t>(token - kFirstControl)])
               : "";
  }

  bool is_control(TokenId token) const override { return token >= kFirstControl; }

  bool is_end_of_generation(TokenId token) const override { return token == kFirstControl; }

  TokenId bos() const override { return kFirstControl + 1; }

  TokenId eos() const override { return kFirstControl; }

  bool adds_bos() const override { return true; }

  bool adds_space_prefix() const override { return false; }

 private:
  std::vector<std::string> texts_;
  std::vector<std::string> controls_;
};

}  // namespace edgewise::chat
