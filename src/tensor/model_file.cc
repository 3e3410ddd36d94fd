#include "tensor/model_file.h"

#include <sys/stat.h>

#include <cctype>

#include "tensor/gguf_reader.h"
#include "tensor/model_file_builder.h"

namespace edgewise::tensor {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxParts = 1000;

// "model-00001-of-00003.gguf" -> path of part `number` (from 1).
Result<fs::path> part_path(const fs::path& first, std::int64_t number, std::int64_t count) {
  const std::string name = first.filename().string();
  const std::size_t of = name.rfind("-of-");
  constexpr std::size_t kTail = sizeof("-of-00000.gguf") - 1;
  if (of == std::string::npos || of < 6 || name.size() - of != kTail || name[of - 6] != '-') {
    return fail(ErrorCode::kInvalidArgument, "{}: a part of a split model must be named NAME-00001-of-{:05}.gguf", first.string(), count);
  }
  return first.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", name.substr(0, of - 6), number, count);
}

Result<void> add_gguf(ModelFileBuilder& builder, const fs::path& path, bool with_metadata) {
  platform::MappedFile file = TRY(platform::MappedFile::open(path));
  GgufContent content = TRY(parse_gguf(file.bytes(), path.string()));
  if (with_metadata) {
    builder.metadata() = std::move(content.metadata);
  }
  for (TensorView& tensor : content.tensors) {
    TRY_VOID(builder.add(std::move(tensor)));
  }
  builder.keep(std::move(file));
  return {};
}

Result<ModelFile> open_gguf(const fs::path& path) {
  platform::MappedFile file = TRY(platform::MappedFile::open(path));
  const GgufContent head = TRY(parse_gguf(file.bytes(), path.string()));
  const std::int64_t count = TRY(head.metadata.integer("split.count")).value_or(1);
  ModelFileBuilder builder(path);
  if (count <= 1) {
    TRY_VOID(add_gguf(builder, path, true));
    return builder.build();
  }
  if (count > kMaxParts) {
    return fail(ErrorCode::kCorrupt, "{}: split.count is {}, at most {} parts are supported", path.string(), count, kMaxParts);
  }
  for (std::int64_t part = 1; part <= count; ++part) {
    TRY_VOID(add_gguf(builder, TRY(part_path(path, part, count)), part == 1));
  }
  const std::int64_t tensors = TRY(builder.metadata().integer("split.tensors.count")).value_or(builder.tensor_count());
  if (tensors != builder.tensor_count()) {
    return fail(ErrorCode::kCorrupt, "{}: the {} parts hold {} tensors, split.tensors.count says {}", path.string(), count, builder.tensor_count(), tensors);
  }
  return builder.build();
}

}  // namespace

std::int64_t TensorView::rows() const {
  std::int64_t rows = 1;
  for (std::size_t d = 1; d < shape.size(); ++d) {
    rows *= shape[d];
  }
  return rows;
}

Result<ModelFile> ModelFile::open(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return fail(ErrorCode::kUnsupported, "{}: a folder; give the path of a .gguf file", path.string());
  }
  return open_gguf(path);
}

const TensorView* ModelFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

Result<const TensorView*> ModelFile::require(std::string_view name) const {
  const TensorView* tensor = find(name);
  if (tensor == nullptr) {
    return fail(ErrorCode::kCorrupt, "{}: tensor {} is missing", path_.string(), name);
  }
  return tensor;
}

std::int64_t ModelFile::file_bytes() const {
  std::int64_t bytes = 0;
  for (const platform::MappedFile& mapping : mappings_) {
    bytes += static_cast<std::int64_t>(mapping.bytes().size());
  }
  return bytes;
}

void ModelFile::release(const TensorView& tensor) const {
  if (!mappings_.empty()) {
    mappings_.front().release(tensor.data);  // any mapping can: the range decides
  }
}

}  // namespace edgewise::tensor
