// Models on this machine's disk, content-addressed: each file is a blob named by its SHA-256, so
// two models that share a file share its bytes, and what a name points at can be checked.
//
//   <root>/blobs/<sha256>              the bytes
//   <root>/models/<name>/manifest.json where it came from, and which blobs it is made of
//   <root>/models/<name>/files/...     the files by name, links to blobs: what loaders open
//   <root>/partial/...                 downloads in progress (pull.h)
//   <root>/packed/<sha256>/...         a blob's weights as the kernels read them, written by loaders
//   <root>/packed/file-<dev>-<inode>/  the same of a file that is not in the store
//   <root>/kv/<key>                    keys and values of often used prompts, written by servers
//
// Several processes may use one store. Names appear and disappear atomically; a blob without a name
// is removed by remove(). A model that is running while it is removed keeps running.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace edgewise::store {

struct StoredFile {
  std::string path;  // relative, with '/' between folders
  std::string sha256;
  std::int64_t bytes = 0;
};

struct StoredModel {
  std::string name;
  std::string source;  // what was asked for: a catalogue name, a path, an address, owner/repo/file
  std::string entry;   // the file that loaders open; empty: the folder
  std::vector<StoredFile> files;

  std::int64_t bytes() const;
};

// A complete, verified file that is to become a blob.
struct StagedFile {
  StoredFile file;
  std::filesystem::path at;
};

// EDGEWISE_HOME, else XDG_DATA_HOME/edgewise, else ~/.local/share/edgewise.
Result<std::filesystem::path> default_root();

class Store {
 public:
  // Nothing is created before the first write.
  static Result<Store> open(std::filesystem::path root);

  const std::filesystem::path& root() const { return root_; }

  // Sorted by name. A damaged entry is an error that names it.
  Result<std::vector<StoredModel>> list() const;

  // By name, or by the source that it was pulled from.
  Result<std::optional<StoredModel>> find(std::string_view name_or_source) const;

  std::filesystem::path path_of(const StoredModel& model) const;

  // Moves the staged files in (same file system as root) and points the name at them, replacing
  // what it was.
  Result<StoredModel> add(std::string name,
                          std::string source,
                          std::string entry,
                          std::vector<StagedFile> files) const;

  // Removes downloads that did not end and that no process is working on; gives back the bytes
  // freed.
  Result<std::int64_t> remove_partial() const;

  // Where loaders may keep the packed form of this model file or folder, stored or not; nothing is
  // created. What was used longest ago is removed until all packed forms together are under a tenth
  // of the disk.
  Result<std::filesystem::path> packed_folder(const std::filesystem::path& model) const;

  // Removes all packed forms; they are made again when a model is next started.
  Result<std::int64_t> remove_packed() const;

  // Where servers may keep keys and values of prompts; nothing is created.
  std::filesystem::path kv_folder() const { return root_ / "kv"; }

  // Removes them; gives back the bytes freed.
  Result<std::int64_t> remove_kv() const;

  // Removes the name and every blob that no name uses any more; gives back the bytes freed.
  Result<std::int64_t> remove(std::string_view name) const;

 private:
  explicit Store(std::filesystem::path root) : root_(std::move(root)) {}

  Result<StoredModel> read_manifest(const std::string& name) const;
  Result<void> write_model(const StoredModel& model) const;
  Result<std::int64_t> remove_unused_blobs() const;

  std::filesystem::path root_;
};

// Letters, digits, '.', '_' and '-', at most 100, not starting with '.' or '-'.
bool is_valid_name(std::string_view name);

// Relative, without empty, "." or ".." parts.
bool is_valid_relative_path(std::string_view path);

}  // namespace edgewise::store
