#include "store/reference.h"

#include <algorithm>
#include <optional>

#include "store/store.h"
#include "tensor/split_name.h"

namespace edgewise::store {
namespace {

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7F; });
}

std::string_view last_part(std::string_view path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

Result<Reference> parse_url(const std::string& url) {
  if (has_control_characters(url)) {
    return fail(ErrorCode::kInvalidArgument,
                "the address has spaces or control characters in it; write them as %20 and so on");
  }
  std::string_view path = std::string_view(url).substr(std::string_view("https://").size());
  path = path.substr(0, path.find_first_of("?#"));
  const std::size_t slash = path.find('/');
  const std::string_view name =
      slash == std::string_view::npos ? std::string_view{} : last_part(path.substr(slash));
  if (name.empty()) {
    return fail(ErrorCode::kInvalidArgument, "{} names no file", url);
  }
  return UrlReference{url, std::string(name)};
}

std::string percent_encode(std::string_view path) {
  std::string out;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string name_from(std::string_view file_name) {
  for (const std::string_view ending : {".gguf", ".GGUF"}) {
    if (file_name.ends_with(ending)) {
      file_name.remove_suffix(ending.size());
    }
  }
  std::string name;
  for (const char c : file_name.substr(0, 100)) {
    const bool is_allowed = is_valid_name(std::string("x") + c);
    name += is_allowed ? static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) : '-';
  }
  name.erase(0, name.find_first_not_of(".-"));
  return name.empty() ? "model" : name;
}

}  // namespace

Result<Reference> parse_reference(const std::string& text) {
  if (text.starts_with("https://")) {
    return parse_url(text);
  }
  if (text.find("://") != std::string::npos) {
    return fail(ErrorCode::kInvalidArgument, "{}: only https:// addresses are taken", text);
  }
  std::error_code error;
  const std::filesystem::path path(text);
  if (std::filesystem::is_regular_file(path, error) || std::filesystem::is_directory(path, error)) {
    return LocalReference{path};
  }
  if (const CatalogueModel* model = find_in_catalogue(text)) {
    return model;
  }
  const std::size_t first = text.find('/');
  const std::size_t second = first == std::string::npos ? first : text.find('/', first + 1);
  if (second != std::string::npos && is_valid_relative_path(text) &&
      !has_control_characters(text)) {
    HubReference hub{text.substr(0, first), text.substr(first + 1, second - first - 1),
                     text.substr(second + 1)};
    if (is_valid_name(hub.owner) && is_valid_name(hub.repo)) {
      return hub;
    }
  }
  std::string names;
  for (const CatalogueModel& model : catalogue()) {
    names += (names.empty() ? "" : ", ") + model.name;
  }
  return fail(ErrorCode::kNotFound,
              "\"{}\" is no file, no https:// address, no owner/repo/file and not in the "
              "catalogue, which has: {}",
              text, names);
}

Result<std::string> hub_url(const HubReference& reference, std::string_view base) {
  while (base.ends_with('/')) {
    base.remove_suffix(1);
  }
  if (!base.starts_with("https://") || has_control_characters(base)) {
    return fail(ErrorCode::kInvalidArgument,
                "{}/{}/{} needs the address of a hub: set HF_ENDPOINT to one that starts with "
                "https://, or give the file's whole https:// address",
                reference.owner, reference.repo, reference.file);
  }
  return fmt::format("{}/{}/{}/resolve/main/{}", base, percent_encode(reference.owner),
                     percent_encode(reference.repo), percent_encode(reference.file));
}

std::string default_name(const Reference& reference) {
  struct Namer {
    std::string operator()(const CatalogueModel* model) const { return model->name; }

    std::string operator()(const LocalReference& local) const {
      const std::filesystem::path path =
          local.path.has_filename() ? local.path : local.path.parent_path();
      return name_from(path.filename().string());
    }

    std::string operator()(const UrlReference& url) const { return name_from(url.file_name); }

    std::string operator()(const HubReference& hub) const { return name_from(last_part(hub.file)); }
  };

  return std::visit(Namer{}, reference);
}

Result<std::vector<std::string>> parts_of(std::string_view file_name) {
  constexpr std::int64_t kMostParts = 1000;
  std::optional<tensor::SplitName> name = tensor::parse_split_name(file_name);
  if (!name) {
    return std::vector{std::string(file_name)};
  }
  if (!name->is_possible() || name->parts > kMostParts) {
    return fail(ErrorCode::kInvalidArgument, "{}: part {} of {} is not a split model's name",
                file_name, name->part, name->parts);
  }
  std::vector<std::string> parts;
  for (name->part = 1; name->part <= name->parts; ++name->part) {
    parts.push_back(format_split_name(*name));
  }
  return parts;
}

}  // namespace edgewise::store
