#include "tensor/byte_cursor.h"

namespace edgewise::tensor {

std::string printable(std::string_view text) {
  constexpr std::size_t kMaxShown = 80;
  std::string shown;
  for (const char c : text.substr(0, kMaxShown)) {
    if (c >= ' ' && c <= '~') {
      shown += c;
    } else {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return text.size() > kMaxShown ? shown + "..." : shown;
}

tl::unexpected<Error> ByteCursor::error_at(std::uint64_t offset,
                                           ErrorCode code,
                                           std::string_view message) const {
  return fail(code, "{}: at offset {}: {}", file_, offset, message);
}

tl::unexpected<Error> ByteCursor::ends_inside(std::string_view field) const {
  return error("the file ends inside {}; is it complete?", printable(field));
}

tl::unexpected<Error> ByteCursor::too_long(std::string_view field,
                                           std::uint64_t size,
                                           std::uint64_t max_bytes) const {
  if (size > left()) {
    return error("{} claims {} bytes of text, but only {} are left", printable(field), size,
                 left());
  }
  return error("{} claims {} bytes of text; at most {} are allowed", printable(field), size,
               max_bytes);
}

}  // namespace edgewise::tensor
