// The format: ggml's docs/gguf.md. Header, metadata, tensor entries, padding to the alignment,
// tensor data.
#include "tensor/gguf_reader.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "tensor/byte_cursor.h"
#include "tensor/gguf_metadata.h"
#include "tensor/model_file_builder.h"

namespace edgewise::tensor {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint64_t kMaxNameBytes = 256;  // the writers end at 64
constexpr std::uint64_t kLeastEntryBytes = 8 + 1 + 4 + 8 + 4 + 8;
constexpr std::int64_t kDefaultAlignment = 32;
constexpr std::int64_t kMaxAlignment = 1 << 20;

Result<void> check_version(const ByteCursor& in, std::uint32_t version) {
  if (version == 2 || version == 3) {
    return {};
  }
  if ((version & 0xFFFFU) ==
      0) {  // 3 is 03 00 00 00 in little-endian and 00 00 00 03 in big-endian files
    return in.unsupported("this is a big-endian GGUF file; only little-endian ones are supported");
  }
  return in.unsupported("GGUF version {} is not supported, only versions 2 and 3 are", version);
}

Result<std::uint64_t> read_alignment(const ByteCursor& in, const Metadata& metadata) {
  const Result<std::optional<std::int64_t>> stored = metadata.integer("general.alignment");
  if (!stored) {
    return in.error("{}", stored.error().message);
  }
  const std::int64_t alignment = stored->value_or(kDefaultAlignment);
  // Multiples of 8, says the format; that keeps every element type aligned in memory, too.
  if (alignment < 8 || alignment > kMaxAlignment ||
      !std::has_single_bit(static_cast<std::uint64_t>(alignment))) {
    return in.error("general.alignment is {}, but must be a power of two from 8 to {}", alignment,
                    kMaxAlignment);
  }
  return static_cast<std::uint64_t>(alignment);
}

struct Entry {
  std::string name;
  std::vector<std::int64_t> shape;
  std::uint32_t type_id = 0;
  std::uint64_t offset = 0;  // from the start of the data section
};

Result<Entry> read_entry(ByteCursor& in) {
  Entry entry;
  entry.name = TRY(in.read_string("a tensor name", kMaxNameBytes));
  if (entry.name.empty()) {
    return in.error("a tensor name is empty");
  }
  const auto dimensions = TRY(in.read<std::uint32_t>(entry.name));
  if (dimensions < 1 || dimensions > 4) {
    return in.error("tensor {} has {} dimensions, but must have 1 to 4", printable(entry.name),
                    dimensions);
  }
  std::int64_t elements = 1;
  for (std::uint32_t d = 0; d < dimensions; ++d) {
    const auto size = TRY(in.read<std::int64_t>(entry.name));
    if (size < 1 || __builtin_mul_overflow(elements, size, &elements)) {
      return in.error("dimension {} of tensor {} is {}, which is impossible", d,
                      printable(entry.name), size);
    }
    entry.shape.push_back(size);
  }
  entry.type_id = TRY(in.read<std::uint32_t>(entry.name));
  entry.offset = TRY(in.read<std::uint64_t>(entry.name));
  return entry;
}

// Where the tensor's bytes are, given the part of the file that holds data.
Result<TensorView> locate(const ByteCursor& in,
                          Entry entry,
                          DType type,
                          std::span<const std::byte> data,
                          std::uint64_t alignment) {
  const DTypeTraits& kind = traits(type);
  const std::string name = printable(entry.name);
  if (entry.shape[0] % kind.block_elems != 0) {
    return in.error("tensor {} has rows of {} elements, not a multiple of the {} in a block of {}",
                    name, entry.shape[0], kind.block_elems, kind.name);
  }
  std::int64_t bytes = kind.block_bytes;
  for (std::size_t d = 0; d < entry.shape.size(); ++d) {
    const std::int64_t size = d == 0 ? entry.shape[0] / kind.block_elems : entry.shape[d];
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      return in.error("tensor {} has more bytes than any file", name);
    }
  }
  if (entry.offset % alignment != 0) {
    return in.error("the offset {} of tensor {} is not a multiple of the alignment {}",
                    entry.offset, name, alignment);
  }
  const auto size = static_cast<std::uint64_t>(bytes);
  if (entry.offset > data.size() || size > data.size() - entry.offset) {
    return in.error(
        "tensor {} claims {} bytes at {} of the data section, which has {} bytes; is the file "
        "complete?",
        name, size, entry.offset, data.size());
  }
  return TensorView{std::move(entry.name), type, std::move(entry.shape),
                    data.subspan(entry.offset, size)};
}

// Nobody writes such a file, and whoever changed or released one tensor would meet another.
Result<void> check_overlaps(const ByteCursor& in, const std::vector<TensorView>& tensors) {
  std::vector<const TensorView*> by_place;
  for (const TensorView& tensor : tensors) {
    by_place.push_back(&tensor);
  }
  std::sort(by_place.begin(), by_place.end(), [](const TensorView* a, const TensorView* b) {
    return std::less<>()(a->data.data(), b->data.data());
  });
  for (std::size_t i = 1; i < by_place.size(); ++i) {
    const std::span<const std::byte> before = by_place[i - 1]->data;
    if (by_place[i]->data.data() - before.data() < std::ssize(before)) {
      return in.error("tensor {} overlaps tensor {}", printable(by_place[i]->name),
                      printable(by_place[i - 1]->name));
    }
  }
  return {};
}

Result<std::vector<Entry>> read_entries(ByteCursor& in, std::uint64_t count) {
  if (count > in.left() / kLeastEntryBytes) {
    return in.error(
        "the header claims {} tensors, but only {} bytes are left; is the file complete?", count,
        in.left());
  }
  std::vector<Entry> entries;
  entries.reserve(count);  // so that the names stay where they are
  std::unordered_set<std::string_view> names;
  for (std::uint64_t i = 0; i < count; ++i) {
    entries.push_back(TRY(read_entry(in)));
    if (!names.insert(entries.back().name).second) {
      return in.error("tensor {} appears twice", printable(entries.back().name));
    }
  }
  return entries;
}

}  // namespace

Result<GgufContent> parse_gguf(std::span<const std::byte> bytes,
                               std::string_view file,
                               UnsupportedTypes policy) {
  ByteCursor in(bytes, file);
  if (TRY(in.read<std::uint32_t>("the magic number")) != kMagic) {
    return fail(ErrorCode::kCorrupt, "{}: not a GGUF file: it does not begin with \"GGUF\"", file);
  }
  TRY_VOID(check_version(in, TRY(in.read<std::uint32_t>("the version"))));
  const auto tensor_count = TRY(in.read<std::uint64_t>("the tensor count"));
  const auto metadata_count = TRY(in.read<std::uint64_t>("the metadata count"));

  GgufContent content;
  content.metadata = TRY(read_gguf_metadata(in, metadata_count));
  const std::uint64_t alignment = TRY(read_alignment(in, content.metadata));
  std::vector<Entry> entries = TRY(read_entries(in, tensor_count));

  content.header_bytes = in.offset();
  const std::uint64_t data_begin = (in.offset() + alignment - 1) / alignment * alignment;
  const std::span<const std::byte> data =
      data_begin < bytes.size() ? bytes.subspan(data_begin) : bytes.first(0);
  for (Entry& entry : entries) {
    if (const std::optional<DType> type = dtype_from_gguf(entry.type_id)) {
      content.tensors.push_back(TRY(locate(in, std::move(entry), *type, data, alignment)));
    } else if (policy == UnsupportedTypes::kList) {
      content.unsupported.push_back({std::move(entry.name), entry.type_id, std::move(entry.shape)});
    } else {
      return unsupported_type_error(file, entry.name, entry.type_id);
    }
  }
  TRY_VOID(check_overlaps(in, content.tensors));
  return content;
}

}  // namespace edgewise::tensor
