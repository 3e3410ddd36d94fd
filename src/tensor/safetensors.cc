// The format: huggingface.co/docs/safetensors. Eight bytes of header length, a JSON header, the
// data.
#include "tensor/safetensors.h"

#include <boost/json.hpp>
#include <optional>
#include <utility>

#include "tensor/byte_cursor.h"
#include "tensor/hugging_face_bert.h"
#include "tensor/model_file_builder.h"

namespace edgewise::tensor {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{64} << 20;
constexpr std::size_t kMaxHeaderDepth = 8;
constexpr std::size_t kMaxDimensions = 8;

std::optional<std::int64_t> element_bytes(std::string_view dtype) {
  constexpr std::pair<std::string_view, std::int64_t> kSizes[] = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
      {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
      {"U32", 4},  {"F32", 4}, {"I64", 8}, {"U64", 8},     {"F64", 8}};
  for (const auto& [name, bytes] : kSizes) {
    if (name == dtype) {
      return bytes;
    }
  }
  return std::nullopt;
}

// Member `key` of `object` as an array of numbers from 0 to 2^63 - 1.
std::optional<std::vector<std::int64_t>> sizes_at(const json::object& object,
                                                  std::string_view key,
                                                  std::size_t most) {
  const json::value* member = object.if_contains(key);
  const json::array* array = member == nullptr ? nullptr : member->if_array();
  if (array == nullptr || array->size() > most) {
    return std::nullopt;
  }
  std::vector<std::int64_t> sizes;
  for (const json::value& element : *array) {
    const std::int64_t* size = element.if_int64();
    if (size == nullptr || *size < 0) {
      return std::nullopt;
    }
    sizes.push_back(*size);
  }
  return sizes;
}

Result<SafetensorsEntry> read_entry(std::string_view file,
                                    std::string_view name,
                                    const json::value& value,
                                    std::span<const std::byte> data) {
  const std::string shown = printable(name);
  const json::object* object = value.if_object();
  const json::value* dtype = object == nullptr ? nullptr : object->if_contains("dtype");
  if (dtype == nullptr || !dtype->is_string()) {
    return fail(ErrorCode::kCorrupt, "{}: the header entry of tensor {} has no dtype", file, shown);
  }
  SafetensorsEntry entry{std::string(name), std::string(dtype->get_string()), {}, {}};
  const std::optional<std::int64_t> unit = element_bytes(entry.dtype);
  if (!unit) {
    return fail(ErrorCode::kUnsupported, "{}: tensor {} has the unknown type {}", file, shown,
                printable(entry.dtype));
  }
  std::optional<std::vector<std::int64_t>> shape = sizes_at(*object, "shape", kMaxDimensions);
  const std::optional<std::vector<std::int64_t>> range = sizes_at(*object, "data_offsets", 2);
  if (!shape || !range || range->size() != 2) {
    return fail(ErrorCode::kCorrupt, "{}: shape or data_offsets of tensor {} are missing or wrong",
                file, shown);
  }
  std::int64_t bytes = *unit;
  for (const std::int64_t size : *shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      return fail(ErrorCode::kCorrupt, "{}: tensor {} has more bytes than any file", file, shown);
    }
  }
  const auto begin = static_cast<std::uint64_t>((*range)[0]);
  const auto end = static_cast<std::uint64_t>((*range)[1]);
  if (begin > end || end > data.size() || end - begin != static_cast<std::uint64_t>(bytes)) {
    return fail(ErrorCode::kCorrupt,
                "{}: data_offsets [{}, {}] of tensor {} do not fit its {} bytes in a data section "
                "of {} bytes",
                file, begin, end, shown, bytes, data.size());
  }
  entry.shape = std::move(*shape);
  entry.data = data.subspan(begin, end - begin);
  return entry;
}

bool is_aligned(std::span<const std::byte> data, std::int64_t unit) {
  return reinterpret_cast<std::uintptr_t>(data.data()) % static_cast<std::uintptr_t>(unit) == 0;
}

std::vector<std::byte> to_f32(DType type, std::span<const std::byte> data) {
  const std::size_t elements = data.size() / static_cast<std::size_t>(traits(type).block_bytes);
  std::vector<float> values(elements);
  dequantize(type, data.data(), values);
  std::vector<std::byte> bytes(elements * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

Result<void> add_tensor(ModelFileBuilder& builder,
                        std::string_view file,
                        const SafetensorsEntry& entry,
                        TensorName name) {
  std::optional<DType> type;
  for (const DType candidate : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (entry.dtype == traits(candidate).name) {
      type = candidate;
    }
  }
  if (!type) {
    return fail(ErrorCode::kUnsupported,
                "{}: tensor {} has the type {}; supported are F32, F16 and BF16", file,
                printable(entry.name), entry.dtype);
  }
  if (entry.shape.empty() || entry.shape.size() > 4 || entry.data.empty()) {
    return fail(ErrorCode::kCorrupt, "{}: tensor {} has an impossible shape", file,
                printable(entry.name));
  }
  TensorView view{
      std::move(name.gguf), *type, {entry.shape.rbegin(), entry.shape.rend()}, entry.data};
  if (*type != DType::kF32 && (name.keep_f32 || view.shape.size() == 1)) {
    view.data = builder.keep(to_f32(*type, entry.data));
    view.type = DType::kF32;
  } else if (!is_aligned(entry.data, traits(*type).block_bytes)) {
    view.data = builder.keep(std::vector<std::byte>(entry.data.begin(), entry.data.end()));
  }
  return builder.add(std::move(view));
}

}  // namespace

Result<std::vector<SafetensorsEntry>> parse_safetensors(std::span<const std::byte> bytes,
                                                        std::string_view file) {
  ByteCursor in(bytes, file);
  const std::string_view header = TRY(in.read_string("the header", kMaxHeaderBytes));
  json::error_code error;
  json::parse_options options;
  options.max_depth = kMaxHeaderDepth;
  const json::value root = json::parse(header, error, {}, options);
  const json::object* entries = root.if_object();
  if (error || entries == nullptr) {
    return fail(ErrorCode::kCorrupt, "{}: the header is not a JSON object{}{}", file,
                error ? ": " : "", error ? error.message() : "");
  }
  const std::span<const std::byte> data = bytes.subspan(in.offset());
  std::vector<SafetensorsEntry> tensors;
  for (const json::key_value_pair& member : *entries) {
    if (member.key() != "__metadata__") {
      tensors.push_back(TRY(read_entry(file, member.key(), member.value(), data)));
    }
  }
  return tensors;
}

Result<ModelFile> open_safetensors_folder(const fs::path& folder) {
  const fs::path path = folder / "model.safetensors";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    if (fs::exists(folder / "model.safetensors.index.json", ignored)) {
      return fail(ErrorCode::kUnsupported,
                  "{}: models in several safetensors files are not supported; use a GGUF file",
                  folder.string());
    }
    return fail(ErrorCode::kNotFound,
                "{}: this folder holds no model.safetensors; give the path of a .gguf file, or of "
                "the folder with model.safetensors and config.json",
                folder.string());
  }
  platform::MappedFile file = TRY(platform::MappedFile::open(path));
  const std::vector<SafetensorsEntry> entries = TRY(parse_safetensors(file.bytes(), path.string()));

  ModelFileBuilder builder(folder);
  for (const SafetensorsEntry& entry : entries) {
    const std::optional<TensorName> name = TRY(bert_tensor_name(path.string(), entry.name));
    if (name) {
      TRY_VOID(add_tensor(builder, path.string(), entry, *name));
    }
  }
  builder.metadata() = TRY(read_bert_metadata(folder, builder.find_shape("token_embd.weight")));
  builder.keep(std::move(file));
  return builder.build();
}

}  // namespace edgewise::tensor
