#include "store/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "store/disk.h"
#include "store/file_lock.h"
#include "store/manifest.h"

namespace edgewise::store {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostManifestBytes = 1 << 20;

// Readers see the old folder or the new one, never none, where the file system can swap two names.
Result<void> replace_folder(const fs::path& from, const fs::path& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) {
    TRY_VOID(remove_tree(from));
    return sync_folder(to.parent_path());
  }
  TRY_VOID(remove_tree(to));
  return rename_path(from, to);
}

// A link from files/a/b to the blob, relative so that the whole store may be moved.
Result<void> link_to_blob(const fs::path& folder, const StoredFile& file) {
  const fs::path link = folder / file.path;
  TRY_VOID(create_folders(link.parent_path()));
  const auto depth = std::count(file.path.begin(), file.path.end(), '/');
  fs::path target = "../../..";
  for (std::int64_t i = 0; i < depth; ++i) {
    target /= "..";
  }
  std::error_code error;
  fs::create_symlink(target / "blobs" / file.sha256, link, error);
  if (error) {
    return io_error("cannot create", link, error.value());
  }
  return {};
}

// A folder of <root>/packed.
struct PackedForm {
  fs::path folder;
  fs::file_time_type last_used;
  std::int64_t bytes = 0;
};

std::vector<PackedForm> list_packed(const fs::path& root) {
  std::vector<PackedForm> forms;
  std::error_code error;
  for (fs::directory_iterator at(root, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    PackedForm form{.folder = at->path(), .last_used = fs::file_time_type::min()};
    std::error_code ignored;
    for (const fs::directory_entry& file : fs::directory_iterator(form.folder, ignored)) {
      std::error_code vanished;  // files come and go
      const auto bytes = file.file_size(vanished);
      const auto used = file.last_write_time(vanished);
      if (!vanished) {
        form.bytes += static_cast<std::int64_t>(bytes);
        form.last_used = std::max(form.last_used, used);
      }
    }
    forms.push_back(std::move(form));
  }
  return forms;
}

constexpr std::int64_t kPackedShareOfDisk = 10;  // a tenth

// All but `kept`. What cannot be removed stays.
void trim_packed(const fs::path& root, const fs::path& kept) {
  std::error_code error;
  const fs::space_info disk = fs::space(root, error);
  if (error) {
    return;  // nothing there yet
  }
  std::vector<PackedForm> forms = list_packed(root);
  std::sort(forms.begin(), forms.end(),
            [](const PackedForm& a, const PackedForm& b) { return a.last_used < b.last_used; });
  std::int64_t total = 0;
  for (const PackedForm& form : forms) {
    total += form.bytes;
  }
  for (const PackedForm& form : forms) {
    if (total <= static_cast<std::int64_t>(disk.capacity) / kPackedShareOfDisk) {
      return;
    }
    if (form.folder != kept && remove_tree(form.folder)) {
      total -= form.bytes;
    }
  }
}

}  // namespace

std::int64_t StoredModel::bytes() const {
  std::int64_t total = 0;
  for (const StoredFile& file : files) {
    total += file.bytes;
  }
  return total;
}

bool is_valid_name(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 100 && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), is_allowed);
}

bool is_valid_relative_path(std::string_view path) {
  if (path.empty() || path.size() > 1000 || path.find('\0') != std::string_view::npos) {
    return false;
  }
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") {
      return false;
    }
    at = end + 1;
  }
  return true;
}

Result<fs::path> default_root() {
  const auto set = [](const char* name) -> const char* {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? value : nullptr;
  };
  if (const char* home = set("EDGEWISE_HOME")) {
    return fs::path(home);
  }
  if (const char* data = set("XDG_DATA_HOME"); data != nullptr && fs::path(data).is_absolute()) {
    return fs::path(data) / "edgewise";
  }
  if (const char* home = set("HOME")) {
    return fs::path(home) / ".local/share/edgewise";
  }
  return fail(ErrorCode::kInvalidArgument, "no place for models: set EDGEWISE_HOME or HOME");
}

Result<Store> Store::open(fs::path root) {
  std::error_code error;
  root = fs::absolute(root, error);
  if (error) {
    return io_error("cannot find", root, error.value());
  }
  if (fs::exists(root, error) && !fs::is_directory(root, error)) {
    return fail(ErrorCode::kInvalidArgument, "{} is not a folder; set EDGEWISE_HOME to one",
                root.string());
  }
  return Store(std::move(root));
}

Result<std::vector<StoredModel>> Store::list() const {
  std::vector<StoredModel> models;
  std::error_code error;
  fs::directory_iterator entries(root_ / "models", error);
  if (error == std::errc::no_such_file_or_directory) {
    return models;
  }
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (!is_valid_name(name)) {
      continue;  // being written, or none of ours
    }
    Result<StoredModel> model = read_manifest(name);
    if (model) {
      models.push_back(std::move(*model));
    } else if (model.error().code != ErrorCode::kNotFound) {  // kNotFound: removed meanwhile
      return tl::unexpected<Error>(std::move(model).error());
    }
  }
  if (error) {
    return io_error("cannot read", root_ / "models", error.value());
  }
  std::sort(models.begin(), models.end(),
            [](const StoredModel& a, const StoredModel& b) { return a.name < b.name; });
  return models;
}

Result<std::optional<StoredModel>> Store::find(std::string_view name_or_source) const {
  if (is_valid_name(name_or_source)) {
    Result<StoredModel> model = read_manifest(std::string(name_or_source));
    if (model) {
      return std::move(*model);
    }
    if (model.error().code != ErrorCode::kNotFound) {
      return tl::unexpected<Error>(std::move(model).error());
    }
  }
  for (StoredModel& model : TRY(list())) {
    if (model.source == name_or_source) {
      return std::move(model);
    }
  }
  return std::nullopt;
}

fs::path Store::path_of(const StoredModel& model) const {
  const fs::path files = root_ / "models" / model.name / "files";
  return model.entry.empty() ? files : files / model.entry;
}

Result<StoredModel> Store::read_manifest(const std::string& name) const {
  const fs::path path = root_ / "models" / name / "manifest.json";
  StoredModel model =
      TRY(manifest_from_json(TRY(read_small_file(path, kMostManifestBytes)), path.string()));
  model.name = name;
  return model;
}

Result<StoredModel> Store::add(std::string name,
                               std::string source,
                               std::string entry,
                               std::vector<StagedFile> files) const {
  if (!is_valid_name(name)) {
    return fail(ErrorCode::kInvalidArgument,
                "\"{}\" can not be a model's name; use letters, digits, '.', '_' and '-', at most "
                "100, starting with a letter or digit",
                name);
  }
  TRY_VOID(create_folders(root_ / "blobs"));
  TRY_VOID(create_folders(root_ / "models"));
  StoredModel model{
      .name = std::move(name), .source = std::move(source), .entry = std::move(entry), .files = {}};
  // Held over blobs and name, so that a removal elsewhere does not take a blob for unused in
  // between.
  const FileLock lock = TRY(FileLock::acquire(root_ / "lock", {}));
  for (StagedFile& staged : files) {
    TRY_VOID(rename_path(staged.at, root_ / "blobs" / staged.file.sha256));
    model.files.push_back(std::move(staged.file));
  }
  TRY_VOID(write_model(model));
  return model;
}

Result<void> Store::write_model(const StoredModel& model) const {
  const fs::path folder = root_ / "models" / model.name;
  const fs::path fresh = root_ / "models" / (".new-" + model.name);
  TRY_VOID(remove_tree(fresh));
  TRY_VOID(create_folders(fresh / "files"));
  for (const StoredFile& file : model.files) {
    TRY_VOID(link_to_blob(fresh / "files", file));
  }
  TRY_VOID(write_file_durably(fresh / "manifest.json", manifest_to_json(model)));
  std::error_code ignored;
  return fs::exists(folder, ignored) ? replace_folder(fresh, folder) : rename_path(fresh, folder);
}

Result<std::int64_t> Store::remove(std::string_view name) const {
  const fs::path folder = root_ / "models" / name;
  std::error_code ignored;
  if (!is_valid_name(name) || !fs::exists(folder, ignored)) {
    return fail(ErrorCode::kNotFound,
                "no stored model is called \"{}\"; `edgewise list` shows what is there", name);
  }
  const FileLock lock = TRY(FileLock::acquire(root_ / "lock", {}));
  const fs::path leaving = root_ / "models" / (".old-" + std::string(name));
  TRY_VOID(remove_tree(leaving));
  TRY_VOID(rename_path(folder, leaving));
  TRY_VOID(remove_tree(leaving));
  return remove_unused_blobs();
}

Result<fs::path> Store::packed_folder(const fs::path& model) const {
  std::error_code error;
  const fs::path file =
      fs::canonical(fs::is_directory(model, error) ? model / "model.safetensors" : model, error);
  struct stat status{};
  if (error || stat(file.c_str(), &status) != 0) {
    return io_error("cannot find", model, error ? error.value() : errno);
  }
  const fs::path packed = root_ / "packed";
  const bool is_blob = file.parent_path() == fs::canonical(root_ / "blobs", error) && !error;
  fs::path folder = packed / (is_blob ? file.filename().string()
                                      : fmt::format("file-{:x}-{}", status.st_dev, status.st_ino));
  trim_packed(packed, folder);
  return folder;
}

Result<std::int64_t> Store::remove_packed() const {
  const std::int64_t freed = bytes_below(root_ / "packed");
  TRY_VOID(remove_tree(root_ / "packed"));
  return freed;
}

Result<std::int64_t> Store::remove_kv() const {
  const std::int64_t freed = bytes_below(kv_folder());
  TRY_VOID(remove_tree(kv_folder()));
  return freed;
}

Result<std::int64_t> Store::remove_partial() const {
  std::int64_t freed = 0;
  std::error_code error;
  for (fs::directory_iterator at(root_ / "partial", error);
       !error && at != fs::directory_iterator(); at.increment(error)) {
    if (at->path().extension() != ".lock") {
      continue;
    }
    const std::optional<FileLock> lock = TRY(FileLock::try_acquire(at->path()));
    const fs::path folder = at->path().parent_path() / at->path().stem();
    std::error_code absent;
    if (lock && fs::exists(folder, absent)) {
      freed += bytes_below(folder);
      TRY_VOID(remove_tree(folder));
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return io_error("cannot read", root_ / "partial", error.value());
  }
  return freed;
}

Result<std::int64_t> Store::remove_unused_blobs() const {
  std::set<std::string> used;
  for (const StoredModel& model :
       TRY(list())) {  // a damaged manifest stops here: nothing is taken for unused
    for (const StoredFile& file : model.files) {
      used.insert(file.sha256);
    }
  }
  std::int64_t freed = 0;
  std::error_code error;
  for (fs::directory_iterator blobs(root_ / "blobs", error);
       !error && blobs != fs::directory_iterator(); blobs.increment(error)) {
    if (used.contains(blobs->path().filename().string())) {
      continue;
    }
    std::error_code blob_error;
    const auto bytes = static_cast<std::int64_t>(blobs->file_size(blob_error));
    if (fs::remove(blobs->path(), blob_error)) {
      freed += bytes;
    }
    if (blob_error) {
      return io_error("cannot remove", blobs->path(), blob_error.value());
    }
    const fs::path packed = root_ / "packed" / blobs->path().filename();
    freed += bytes_below(packed);
    TRY_VOID(remove_tree(packed));
  }
  return freed;
}

}  // namespace edgewise::store
