#include "store/model_check.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "store/disk.h"
#include "tensor/model_file.h"

namespace edgewise::store {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kGguf = "GGUF";
constexpr std::size_t kFirstBytes = 512;

struct Signature {
  std::string_view begin;
  std::string_view kind;
};

constexpr std::array<Signature, 10> kSignatures = {
    {{kGguf, "a GGUF file"},
     {"version https://git-lfs.github.com/spec",
      "a Git LFS pointer, which stands for the file itself"},
     {"PK\x03\x04", "a ZIP archive (a PyTorch model, or a package)"},
     {"\x1F\x8B", "a gzip archive"},
     {"\xFD"
      "7zXZ",
      "an xz archive"},
     {"\x28\xB5\x2F\xFD", "a zstd archive"},
     {"7z\xBC\xAF", "a 7-zip archive"},
     {"ggjt", "a GGML file, which was before GGUF"},
     {"lmgg", "a GGML file, which was before GGUF"},
     {"%PDF", "a PDF document"}}};

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

bool is_text(std::string_view bytes) {
  return std::none_of(bytes.begin(), bytes.end(), [](char c) {
    return static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\r' && c != '\t';
  });
}

// Eight bytes of the header's length, then the header: a JSON object.
bool is_safetensors(std::string_view bytes) {
  return bytes.size() > 9 && bytes.substr(6, 2) == std::string_view("\0\0", 2) && bytes[8] == '{';
}

Result<std::string> read_first_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(kFirstBytes, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.is_open() || file.bad()) {
    return io_error("cannot read", path, errno);
  }
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

}  // namespace

std::string kind_of_file(std::string_view first_bytes) {
  for (const Signature& signature : kSignatures) {
    if (first_bytes.starts_with(signature.begin)) {
      return std::string(signature.kind);
    }
  }
  if (first_bytes.empty()) {
    return "an empty file";
  }
  if (is_safetensors(first_bytes)) {
    return "a single safetensors file; give the folder with config.json and the tokenizer's files";
  }
  if (!is_text(first_bytes)) {
    return "a file of an unknown format";
  }
  const std::string text = lower(first_bytes.substr(0, first_bytes.find('\0')));
  const std::size_t begin = std::min(text.find_first_not_of(" \n\r\t"), text.size());
  const std::string_view visible = std::string_view(text).substr(begin);
  if (visible.starts_with("<!doctype html") || visible.starts_with("<html")) {
    return "a web page (of a login, or of an error)";
  }
  return visible.starts_with("{") || visible.starts_with("[") ? "JSON text" : "a text file";
}

Result<void> check_is_model(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    const Result<std::string> first_bytes = read_first_bytes(path);
    if (!first_bytes) {
      return tl::unexpected<Error>(first_bytes.error());
    }
    if (!first_bytes->starts_with(kGguf)) {
      return fail(ErrorCode::kCorrupt, "{} is no model, but {}", path.filename().string(),
                  kind_of_file(*first_bytes));
    }
  }
  TRY_VOID(tensor::ModelFile::open(path, tensor::UnsupportedTypes::kList).map([](const auto&) {}));
  return {};
}

}  // namespace edgewise::store
