#include <limits>

#include "tensor/model_file.h"

namespace edgewise::tensor {
namespace {

tl::unexpected<Error> wrong_type(std::string_view key, std::string_view expected) {
  return fail(ErrorCode::kCorrupt, "metadata key {}: expected {}", key, expected);
}

}  // namespace

void Metadata::drop_arrays() {
  std::erase_if(values_, [](const auto& entry) {
    return std::holds_alternative<std::vector<std::int64_t>>(entry.second) ||
           std::holds_alternative<std::vector<float>>(entry.second) ||
           std::holds_alternative<TextList>(entry.second);
  });
}

const MetadataValue* Metadata::find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

Result<std::optional<std::int64_t>> Metadata::integer(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (const auto* i = std::get_if<std::int64_t>(value)) {
    return *i;
  }
  if (const auto* u = std::get_if<std::uint64_t>(value)) {
    if (*u <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return static_cast<std::int64_t>(*u);
    }
  }
  return wrong_type(key, "an integer");
}

Result<std::optional<double>> Metadata::number(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (const auto* d = std::get_if<double>(value)) {
    return *d;
  }
  if (const auto* i = std::get_if<std::int64_t>(value)) {
    return static_cast<double>(*i);
  }
  if (const auto* u = std::get_if<std::uint64_t>(value)) {
    return static_cast<double>(*u);
  }
  return wrong_type(key, "a number");
}

Result<std::optional<bool>> Metadata::boolean(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (const auto* b = std::get_if<bool>(value)) {
    return *b;
  }
  return wrong_type(key, "a boolean");
}

Result<std::optional<std::string>> Metadata::string(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (const auto* s = std::get_if<std::string>(value)) {
    return *s;
  }
  return wrong_type(key, "a string");
}

const TextList* Metadata::strings(std::string_view key) const {
  const MetadataValue* value = find(key);
  return value == nullptr ? nullptr : std::get_if<TextList>(value);
}

const std::vector<float>* Metadata::floats(std::string_view key) const {
  const MetadataValue* value = find(key);
  return value == nullptr ? nullptr : std::get_if<std::vector<float>>(value);
}

const std::vector<std::int64_t>* Metadata::integers(std::string_view key) const {
  const MetadataValue* value = find(key);
  return value == nullptr ? nullptr : std::get_if<std::vector<std::int64_t>>(value);
}

}  // namespace edgewise::tensor
