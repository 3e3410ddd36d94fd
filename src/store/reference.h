// What a person can ask `pull` for, told apart.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "store/catalogue.h"

namespace edgewise::store {

struct LocalReference {
  std::filesystem::path path;  // exists: a file or a folder
};

struct UrlReference {
  std::string url;        // https://...
  std::string file_name;  // last part of its path
};

struct HubReference {  // Hugging-Face style: owner/repo/file, the file may lie in folders
  std::string owner, repo, file;
};

using Reference = std::variant<const CatalogueModel*, LocalReference, UrlReference, HubReference>;

// In this order: an https:// address, an existing path, a catalogue name, owner/repo/file.
Result<Reference> parse_reference(const std::string& text);

// The address of a hub file below a base address such as https://host:
// <base>/owner/repo/resolve/main/file.
Result<std::string> hub_url(const HubReference& reference, std::string_view base);

// A name for what `reference` brings, when the user gives none.
std::string default_name(const Reference& reference);

// For "x-00002-of-00003.gguf" the names of all three parts, else just the name itself.
Result<std::vector<std::string>> parts_of(std::string_view file_name);

}  // namespace edgewise::store
