// What is seen of a server's link.
#pragma once

#include <cstdint>

namespace edgewise::net {

struct LinkStats {
  double bytes_per_s = 0.0;        // 0: no link was given, nothing is limited or counted
  std::int64_t bytes_total = 0;    // sent, with headers as far as they are known
  std::int64_t payload_total = 0;  // ... without those of TLS, TCP and IP
  std::int64_t late_total = 0;     // replies whose last byte was sent after their deadline
  double waiting_bytes = 0.0;      // made and not sent yet
  double share_in_use = 0.0;       // of the link, in the last second
};

}  // namespace edgewise::net
