#include "tensor/model_file.h"

#include <functional>
#include <optional>
#include <utility>

#include "tensor/byte_cursor.h"
#include "tensor/gguf_reader.h"
#include "tensor/model_file_builder.h"
#include "tensor/safetensors.h"
#include "tensor/split_name.h"

namespace edgewise::tensor {
namespace {

namespace fs = std::filesystem;

Result<void> add_content(ModelFileBuilder& builder, GgufContent content) {
  for (TensorView& tensor : content.tensors) {
    TRY_VOID(builder.add(std::move(tensor)));
  }
  for (UnsupportedTensor& tensor : content.unsupported) {
    builder.add(std::move(tensor));
  }
  return {};
}

Result<std::int64_t> integer_or(const fs::path& path,
                                const Metadata& metadata,
                                std::string_view key,
                                std::int64_t fallback) {
  Result<std::optional<std::int64_t>> value = metadata.integer(key);
  if (!value) {
    return wrap(std::move(value).error(), path.string());
  }
  return value->value_or(fallback);
}

struct Part {
  platform::MappedFile file;
  GgufContent content;
};

Result<Part> open_part(const fs::path& path, UnsupportedTypes policy) {
  platform::MappedFile file = TRY(platform::MappedFile::open(path));
  GgufContent content = TRY(parse_gguf(file.bytes(), path.string(), policy));
  file.release(file.bytes().first(content.header_bytes));  // all of it was copied
  return Part{std::move(file), std::move(content)};
}

// Takes `part` (which was opened as `path`) as number `index` of `count`.
Result<void> add_part(ModelFileBuilder& builder,
                      const fs::path& path,
                      Part part,
                      std::int64_t index,
                      std::int64_t count) {
  const Metadata& metadata = part.content.metadata;
  const std::int64_t own_count = TRY(integer_or(path, metadata, "split.count", 1));
  const std::int64_t own_index = TRY(integer_or(path, metadata, "split.no", -1));
  if (own_count != count || own_index != index) {
    return fail(ErrorCode::kCorrupt,
                "{}: the file says it is part {} of {}, its name says {} of {}", path.string(),
                own_index + 1, own_count, index + 1, count);
  }
  if (index == 0) {
    builder.metadata() = std::move(part.content.metadata);
  }
  TRY_VOID(add_content(builder, std::move(part.content)));
  builder.keep(std::move(part.file));
  return {};
}

// Parts are NAME-00001-of-0000N.gguf side by side; the first holds the metadata.
Result<ModelFile> open_split(const fs::path& path, Part opened, UnsupportedTypes policy) {
  const std::int64_t count = TRY(integer_or(path, opened.content.metadata, "split.count", 1));
  std::optional<SplitName> name = parse_split_name(path.filename().string());
  if (!name || !name->is_possible() || name->parts != count) {
    return fail(ErrorCode::kInvalidArgument,
                "{}: this is one of the {} parts of a split model; they must be named "
                "NAME-00001-of-{:05}.gguf and so on",
                path.string(), count, count);
  }
  const std::int64_t opened_number = name->part;
  ModelFileBuilder builder(path);
  for (name->part = 1; name->part <= count; ++name->part) {
    const fs::path part_path = path.parent_path() / format_split_name(*name);
    // NOLINTNEXTLINE(bugprone-use-after-move): only one part has that number
    Part part = name->part == opened_number ? std::move(opened) : TRY(open_part(part_path, policy));
    TRY_VOID(add_part(builder, part_path, std::move(part), name->part - 1, count));
  }
  const std::int64_t tensors = builder.tensor_count();
  const std::int64_t expected =
      TRY(integer_or(path, builder.metadata(), "split.tensors.count", tensors));
  if (expected != tensors) {
    return fail(ErrorCode::kCorrupt,
                "{}: the {} parts hold {} tensors, but split.tensors.count is {}", path.string(),
                count, tensors, expected);
  }
  return builder.build();
}

Result<ModelFile> open_gguf(const fs::path& path, UnsupportedTypes policy) {
  Part part = TRY(open_part(path, policy));
  if (TRY(integer_or(path, part.content.metadata, "split.count", 1)) > 1) {
    return open_split(path, std::move(part), policy);
  }
  ModelFileBuilder builder(path);
  builder.metadata() = std::move(part.content.metadata);
  TRY_VOID(add_content(builder, std::move(part.content)));
  builder.keep(std::move(part.file));
  return builder.build();
}

bool lies_in(std::span<const std::byte> part, std::span<const std::byte> whole) {
  return !std::less<>()(part.data(), whole.data()) &&
         std::less<>()(part.data(), whole.data() + whole.size());
}

}  // namespace

std::int64_t TensorView::rows() const {
  std::int64_t rows = 1;
  for (std::size_t d = 1; d < shape.size(); ++d) {
    rows *= shape[d];
  }
  return rows;
}

Result<void> ModelFileBuilder::add(TensorView tensor) {
  if (!file_.index_.emplace(tensor.name, file_.tensors_.size()).second) {
    return fail(ErrorCode::kCorrupt, "{}: tensor {} appears twice", file_.path_.string(),
                printable(tensor.name));
  }
  file_.tensors_.push_back(std::move(tensor));
  return {};
}

tl::unexpected<Error> unsupported_type_error(std::string_view file,
                                             std::string_view tensor,
                                             std::uint32_t type_id) {
  std::string known;
  for (const DTypeTraits& kind : all_dtypes()) {
    known += fmt::format("{}{}", known.empty() ? "" : " ", kind.name);
  }
  return fail(ErrorCode::kUnsupported,
              "{}: tensor {} has the type {} ({}), which is not supported; supported are {}", file,
              printable(tensor), gguf_type_name(type_id), type_id, known);
}

Result<ModelFile> ModelFile::open(const fs::path& path, UnsupportedTypes policy) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return open_safetensors_folder(path);
  }
  if (path.filename() == "model.safetensors") {
    return open_safetensors_folder(path.parent_path());
  }
  return open_gguf(path, policy);
}

Result<ModelFile> ModelFile::from_gguf_bytes(std::span<const std::byte> bytes,
                                             const fs::path& name,
                                             UnsupportedTypes policy) {
  GgufContent content = TRY(parse_gguf(bytes, name.string(), policy));
  ModelFileBuilder builder(name);
  builder.metadata() = std::move(content.metadata);
  TRY_VOID(add_content(builder, std::move(content)));
  return builder.build();
}

const TensorView* ModelFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

Result<const TensorView*> ModelFile::require(std::string_view name) const {
  const TensorView* tensor = find(name);
  if (tensor != nullptr) {
    return tensor;
  }
  for (const UnsupportedTensor& other : unsupported_) {
    if (other.name == name) {
      return unsupported_type_error(path_.string(), name, other.type_id);
    }
  }
  return fail(ErrorCode::kCorrupt, "{}: tensor {} is missing", path_.string(), name);
}

std::int64_t ModelFile::file_bytes() const {
  std::int64_t bytes = 0;
  for (const platform::MappedFile& mapping : mappings_) {
    bytes += static_cast<std::int64_t>(mapping.bytes().size());
  }
  return bytes;
}

std::vector<platform::FileStamp> ModelFile::stamps() const {
  std::vector<platform::FileStamp> stamps;
  for (const platform::MappedFile& mapping : mappings_) {
    stamps.push_back(mapping.stamp());
  }
  return stamps;
}

std::string ModelFile::place_of(std::span<const std::byte> bytes) const {
  for (std::size_t part = 0; part < mappings_.size(); ++part) {
    if (lies_in(bytes, mappings_[part].bytes())) {
      return fmt::format("{}:{}", part, bytes.data() - mappings_[part].bytes().data());
    }
  }
  for (std::size_t table = 0; table < converted_.size(); ++table) {
    if (lies_in(bytes, converted_[table])) {
      return fmt::format("+{}:{}", table, bytes.data() - converted_[table].data());
    }
  }
  return "elsewhere";
}

void ModelFile::release(std::span<const std::byte> bytes) const {
  for (const platform::MappedFile& mapping : mappings_) {
    if (lies_in(bytes, mapping.bytes())) {
      mapping.release(bytes);
      return;
    }
  }
}

}  // namespace edgewise::tensor
