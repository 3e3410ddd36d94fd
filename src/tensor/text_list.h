// Many short texts in one piece of memory: a vocabulary has a quarter of a million of them, which as strings of their own
// take three times the memory, and milliseconds to make and to free.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace edgewise::tensor {

class TextList {
 public:
  TextList() = default;

  TextList(std::initializer_list<std::string_view> texts) { append(texts); }

  TextList(const std::vector<std::string>& texts) {  // NOLINT(google-explicit-constructor)
    append(texts);
  }

  void reserve(std::size_t count) { ends_.reserve(count); }

  void push_back(std::string_view text) {
    bytes_ += text;
    ends_.push_back(bytes_.size());
  }

  std::size_t size() const { return ends_.size(); }

  bool empty() const { return ends_.empty(); }

  std::size_t total_bytes() const { return bytes_.size(); }

  // Valid until the list changes.
  std::string_view operator[](std::size_t index) const {
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
    return std::string_view(bytes_).substr(begin, ends_[index] - begin);
  }

  bool operator==(const TextList&) const = default;

 private:
  template <typename Texts>
  void append(const Texts& texts) {
    for (const std::string_view text : texts) {
      push_back(text);
    }
  }

  std::string bytes_;
  std::vector<std::size_t> ends_;
};

}  // namespace edgewise::tensor
