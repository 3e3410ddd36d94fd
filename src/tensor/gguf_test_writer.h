// Writes small GGUF files for tests, right or deliberately wrong.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/model_file.h"

namespace edgewise::tensor {

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline void put_text(std::string& out, std::string_view text) {
  put<std::uint64_t>(out, text.size());
  out.append(text);
}

class GgufWriter {
 public:
  enum Type : std::uint32_t {
    kU8,
    kI8,
    kU16,
    kI16,
    kU32,
    kI32,
    kF32,
    kBool,
    kString,
    kArray,
    kU64,
    kI64,
    kF64
  };

  std::uint32_t magic = 0x46554747;
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;
  // Added to the true counts.
  std::int64_t extra_tensors = 0;
  std::int64_t extra_entries = 0;

  template <typename T>
  GgufWriter& add(std::string_view key, Type type, T value) {
    begin_entry(key, type);
    put(metadata_, value);
    return *this;
  }

  GgufWriter& add_u32(std::string_view key, std::uint32_t value) { return add(key, kU32, value); }

  GgufWriter& add_text(std::string_view key, std::string_view text) {
    begin_entry(key, kString);
    put_text(metadata_, text);
    return *this;
  }

  // An array header; `elements` is written as it is.
  GgufWriter& add_array(std::string_view key,
                        std::uint32_t type,
                        std::uint64_t count,
                        std::string_view elements) {
    begin_entry(key, kArray);
    put(metadata_, type);
    put(metadata_, count);
    metadata_ += elements;
    return *this;
  }

  GgufWriter& add_value(std::string_view key, const MetadataValue& value) {
    std::visit([&](const auto& v) { add_alternative(key, v); }, value);
    return *this;
  }

  // A tensor whose data follows that of the tensors before it.
  GgufWriter& add_tensor(std::string_view name,
                         std::uint32_t type,
                         const std::vector<std::int64_t>& shape,
                         std::string_view data) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    add_tensor_entry(name, type, shape, data_.size());
    data_ += data;
    return *this;
  }

  GgufWriter& add_tensor_entry(std::string_view name,
                               std::uint32_t type,
                               const std::vector<std::int64_t>& shape,
                               std::uint64_t offset) {
    ++tensors_;
    put_text(entries_, name);
    put(entries_, static_cast<std::uint32_t>(shape.size()));
    for (const std::int64_t size : shape) {
      put(entries_, size);
    }
    put(entries_, type);
    put(entries_, offset);
    return *this;
  }

  std::vector<std::byte> bytes() const {
    std::string out;
    put(out, magic);
    put(out, version);
    put(out, tensors_ + extra_tensors);
    put(out, keys_ + extra_entries);
    out += metadata_ + entries_;
    if (!data_.empty()) {
      out.resize((out.size() + alignment - 1) / alignment * alignment);
      out += data_;
    }
    const auto* begin = reinterpret_cast<const std::byte*>(out.data());
    return {begin, begin + out.size()};
  }

 private:
  void begin_entry(std::string_view key, std::uint32_t type) {
    ++keys_;
    put_text(metadata_, key);
    put(metadata_, type);
  }

  void add_alternative(std::string_view key, std::int64_t v) { add(key, kI64, v); }

  void add_alternative(std::string_view key, std::uint64_t v) { add(key, kU64, v); }

  void add_alternative(std::string_view key, double v) { add(key, kF64, v); }

  void add_alternative(std::string_view key, bool v) { add(key, kBool, v); }

  void add_alternative(std::string_view key, const std::string& v) { add_text(key, v); }

  void add_alternative(std::string_view key, const std::vector<std::int64_t>& v) {
    add_elements(key, kI64, v);
  }

  void add_alternative(std::string_view key, const std::vector<float>& v) {
    add_elements(key, kF32, v);
  }

  void add_alternative(std::string_view key, const TextList& v) {
    std::string elements;
    for (std::size_t i = 0; i < v.size(); ++i) {
      put_text(elements, v[i]);
    }
    add_array(key, kString, v.size(), elements);
  }

  template <typename T>
  void add_elements(std::string_view key, Type type, const std::vector<T>& v) {
    std::string elements;
    for (const T element : v) {
      put(elements, element);
    }
    add_array(key, type, v.size(), elements);
  }

  std::string metadata_;
  std::string entries_;
  std::string data_;
  std::int64_t tensors_ = 0;
  std::int64_t keys_ = 0;
};

}  // namespace edgewise::tensor
