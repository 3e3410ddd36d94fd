// Radio links shared in frequency, as the paper shares them: a request whose phase has a fixed length needs just the
// share of the band that carries its tokens in that time.
#pragma once

#include <cstdint>

namespace edgewise::schedule {

struct Radio {
  double uplink_hz = 0.0;
  double downlink_hz = 0.0;
  double user_power_w = 0.0;
  double node_power_w = 0.0;
  double noise_w_per_hz = 0.0;
  double bits_per_token = 32.0;
};

// 10^(dbm / 10) milliwatts.
double watts_of_dbm(double dbm);

// Shannon's bits per second and hertz; `gain` is received over sent power.
double spectral_efficiency(double power_w, double gain, double noise_w_per_hz, double bandwidth_hz);

// Least share of the band that carries `tokens` in `seconds`; above 1 where the band cannot.
double uplink_share(const Radio& radio, double gain, std::int64_t tokens, double seconds);
double downlink_share(const Radio& radio, double gain, std::int64_t tokens, double seconds);

}  // namespace edgewise::schedule
