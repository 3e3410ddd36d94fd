// A model as stored: typed metadata plus named tensors, memory-mapped. What the loaders read from, whatever
// the container: GGUF v2/v3 (split files included) or a Hugging Face folder with safetensors, whose
// config.json and tokenizer files are translated to GGUF's keys and tensor names.
//
// Everything in a file is hostile: every count, offset, length, shape and type is checked before use, and no
// allocation is larger than the file's own size justifies. Errors name the file, the field and the offset.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "platform/mapped_file.h"
#include "tensor/dtype.h"
#include "tensor/text_list.h"

namespace edgewise::tensor {

// One metadata value. Integers of all widths are widened; arrays hold one kind.
using MetadataValue = std::variant<std::int64_t,
                                   std::uint64_t,
                                   double,
                                   bool,
                                   std::string,
                                   std::vector<std::int64_t>,  // integer and bool arrays
                                   std::vector<float>,
                                   TextList>;

class Metadata {
 public:
  void set(std::string key, MetadataValue value) {
    values_.insert_or_assign(std::move(key), std::move(value));
  }

  void drop_arrays();

  const MetadataValue* find(std::string_view key) const;

  const std::map<std::string, MetadataValue, std::less<>>& all() const { return values_; }

  // Typed look-ups. A missing key: nullopt / the fallback. A key of another type: an error that names it.
  Result<std::optional<std::int64_t>> integer(std::string_view key) const;
  Result<std::optional<double>> number(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string>> string(std::string_view key) const;
  const TextList* strings(std::string_view key) const;  // nullptr: absent or another type
  const std::vector<float>* floats(std::string_view key) const;
  const std::vector<std::int64_t>* integers(std::string_view key) const;

 private:
  std::map<std::string, MetadataValue, std::less<>> values_;
};

struct TensorView {
  std::string name;
  DType type = DType::kF32;
  std::vector<std::int64_t>
      shape;  // GGUF order: shape[0] is the contiguous dimension (columns), 1 to 4 entries
  std::span<const std::byte> data;  // exactly the bytes of the shape

  std::int64_t cols() const { return shape[0]; }

  std::int64_t rows() const;  // product of the other dimensions
};

// A tensor of an element type that dequantize() does not know, e.g. IQ2_XXS.
struct UnsupportedTensor {
  std::string name;
  std::uint32_t type_id = 0;  // gguf_type_name() names it
  std::vector<std::int64_t> shape;
};

// What to do about such tensors: an error that names the first one, or go on and list them (for commands that
// only look: a model must not be computed without them).
enum class UnsupportedTypes { kReject, kList };

class ModelFile {
 public:
  // A .gguf file (any part of a split model finds the others beside it) or a folder with model.safetensors
  // (or that file itself).
  static Result<ModelFile> open(const std::filesystem::path& path,
                                UnsupportedTypes policy = UnsupportedTypes::kReject);

  // One GGUF file (not split) in memory that outlives the result; `name` is for error messages.
  static Result<ModelFile> from_gguf_bytes(std::span<const std::byte> bytes,
                                           const std::filesystem::path& name,
                                           UnsupportedTypes policy = UnsupportedTypes::kReject);

  ModelFile(ModelFile&&) = default;
  ModelFile& operator=(ModelFile&&) = default;

  const std::filesystem::path& path() const { return path_; }

  const Metadata& metadata() const { return metadata_; }

  // Forgets the metadata's arrays, which only loading reads: vocabularies of a quarter of a million tokens take tens of
  // megabytes.
  void drop_metadata_arrays() { metadata_.drop_arrays(); }

  std::span<const TensorView> tensors() const { return tensors_; }

  const TensorView* find(std::string_view name) const;  // nullptr: absent
  Result<const TensorView*> require(
      std::string_view name) const;  // error that names it: absent, or its type

  std::span<const UnsupportedTensor> unsupported() const {
    return unsupported_;
  }  // empty unless asked for

  std::int64_t file_bytes() const;  // of all parts

  // Of all parts, as they were when opened; empty for bytes in memory.
  std::vector<platform::FileStamp> stamps() const;

  // Where bytes of a tensor lie: "part:offset" in a file, "+table:offset" when they were converted.
  // The same text for the same bytes of the same file at every start.
  std::string place_of(std::span<const std::byte> bytes) const;

  // Drops these pages of a tensor from this process: they were copied elsewhere, or are seldom read.
  void release(std::span<const std::byte> bytes) const;

 private:
  friend class ModelFileBuilder;
  ModelFile() = default;
  std::filesystem::path path_;
  Metadata metadata_;
  std::vector<TensorView> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::vector<UnsupportedTensor> unsupported_;
  std::vector<platform::MappedFile> mappings_;
  std::vector<std::vector<std::byte>>
      converted_;  // tensors that could not be used as they lie in the file
};

}  // namespace edgewise::tensor
