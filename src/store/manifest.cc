#include "store/manifest.h"

#include <boost/json.hpp>

#include "platform/sha256.h"

namespace edgewise::store {
namespace json = boost::json;

namespace {

constexpr std::int64_t kVersion = 1;

const json::value* member(const json::object& object, std::string_view key, json::kind kind) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->kind() == kind ? value : nullptr;
}

Result<StoredFile> read_file(const json::value& value, std::string_view origin) {
  const json::object* object = value.if_object();
  const json::value* path =
      object == nullptr ? nullptr : member(*object, "path", json::kind::string);
  const json::value* sha256 =
      object == nullptr ? nullptr : member(*object, "sha256", json::kind::string);
  const json::value* bytes =
      object == nullptr ? nullptr : member(*object, "bytes", json::kind::int64);
  if (path == nullptr || sha256 == nullptr || bytes == nullptr) {
    return fail(ErrorCode::kCorrupt, "{}: a file needs path, sha256 and bytes", origin);
  }
  StoredFile file{std::string(path->get_string()), std::string(sha256->get_string()),
                  bytes->get_int64()};
  if (!is_valid_relative_path(file.path) || !platform::is_sha256(file.sha256) || file.bytes < 0) {
    return fail(ErrorCode::kCorrupt, "{}: a file's path, sha256 or bytes is not valid", origin);
  }
  return file;
}

}  // namespace

std::string manifest_to_json(const StoredModel& model) {
  json::array files;
  for (const StoredFile& file : model.files) {
    files.push_back({{"path", file.path}, {"sha256", file.sha256}, {"bytes", file.bytes}});
  }
  const json::object manifest = {{"version", kVersion},
                                 {"source", model.source},
                                 {"entry", model.entry},
                                 {"files", std::move(files)}};
  return json::serialize(manifest) + "\n";
}

Result<StoredModel> manifest_from_json(std::string_view text, std::string_view origin) {
  json::error_code error;
  const json::value parsed = json::parse(text, error);
  const json::object* object = error ? nullptr : parsed.if_object();
  if (object == nullptr) {
    return fail(ErrorCode::kCorrupt,
                "{} is not a JSON object; remove the model's folder and pull it again", origin);
  }
  const json::value* version = member(*object, "version", json::kind::int64);
  if (version == nullptr || version->get_int64() != kVersion) {
    return fail(ErrorCode::kUnsupported, "{}: not version {}; a newer edgewise may have written it",
                origin, kVersion);
  }
  const json::value* source = member(*object, "source", json::kind::string);
  const json::value* entry = member(*object, "entry", json::kind::string);
  const json::value* files = member(*object, "files", json::kind::array);
  if (source == nullptr || entry == nullptr || files == nullptr || files->get_array().empty()) {
    return fail(ErrorCode::kCorrupt, "{}: source, entry or files is missing", origin);
  }
  StoredModel model;
  model.source = std::string(source->get_string());
  model.entry = std::string(entry->get_string());
  if (!model.entry.empty() && !is_valid_relative_path(model.entry)) {
    return fail(ErrorCode::kCorrupt, "{}: entry is not a relative path", origin);
  }
  for (const json::value& file : files->get_array()) {
    model.files.push_back(TRY(read_file(file, origin)));
  }
  return model;
}

}  // namespace edgewise::store
