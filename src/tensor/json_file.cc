#include "tensor/json_file.h"

#include <span>

#include "platform/mapped_file.h"

namespace edgewise::tensor {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxBytes = std::size_t{64}
                                  << 20;  // the largest tokenizer.json are about 30 MB
constexpr std::size_t kMaxDepth = 32;

}  // namespace

Result<JsonFile> JsonFile::read(const std::filesystem::path& path) {
  const platform::MappedFile file = TRY(platform::MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  if (bytes.size() > kMaxBytes) {
    return fail(ErrorCode::kUnsupported, "{}: {} bytes of JSON; at most {} are allowed",
                path.string(), bytes.size(), kMaxBytes);
  }
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::error_code error;
  JsonFile result;
  result.path_ = path;
  result.root_ =
      json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, error, {}, options);
  if (error) {
    return fail(ErrorCode::kCorrupt, "{}: not valid JSON: {}", path.string(), error.message());
  }
  return result;
}

Result<std::optional<JsonFile>> JsonFile::read_if_present(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return std::optional<JsonFile>();
  }
  return std::optional<JsonFile>(TRY(read(path)));
}

const json::value* JsonFile::find_in(const json::value& value, std::string_view key) {
  const json::object* object = value.if_object();
  const json::value* member = object == nullptr ? nullptr : object->if_contains(key);
  return member == nullptr || member->is_null() ? nullptr : member;
}

Result<std::optional<std::int64_t>> JsonFile::integer(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_int64()) {
    return error(ErrorCode::kCorrupt, "{} is not an integer", key);
  }
  return value->get_int64();
}

Result<std::optional<double>> JsonFile::number(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  json::error_code ignored;
  if (!value->is_number()) {
    return error(ErrorCode::kCorrupt, "{} is not a number", key);
  }
  return value->to_number<double>(ignored);
}

Result<std::optional<bool>> JsonFile::boolean(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_bool()) {
    return error(ErrorCode::kCorrupt, "{} is not true or false", key);
  }
  return value->get_bool();
}

Result<std::optional<std::string>> JsonFile::string(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_string()) {
    return error(ErrorCode::kCorrupt, "{} is not a string", key);
  }
  return std::string(value->get_string());
}

Result<std::int64_t> JsonFile::positive_integer(std::string_view key) const {
  const std::optional<std::int64_t> value = TRY(integer(key));
  if (!value || *value < 1) {
    return error(ErrorCode::kCorrupt, "{} is missing or not above 0", key);
  }
  return *value;
}

}  // namespace edgewise::tensor
