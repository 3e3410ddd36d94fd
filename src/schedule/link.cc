#include "schedule/link.h"

#include <cmath>

namespace edgewise::schedule {
namespace {

double share(double bits, double seconds, double bandwidth_hz, double efficiency) {
  return bits / (seconds * bandwidth_hz * efficiency);
}

}  // namespace

double watts_of_dbm(double dbm) {
  return std::pow(10.0, dbm / 10.0) / 1000.0;
}

double spectral_efficiency(double power_w,
                           double gain,
                           double noise_w_per_hz,
                           double bandwidth_hz) {
  return std::log2(1.0 + power_w * gain / (noise_w_per_hz * bandwidth_hz));
}

double uplink_share(const Radio& radio, double gain, std::int64_t tokens, double seconds) {
  return share(
      radio.bits_per_token * static_cast<double>(tokens), seconds, radio.uplink_hz,
      spectral_efficiency(radio.user_power_w, gain, radio.noise_w_per_hz, radio.uplink_hz));
}

double downlink_share(const Radio& radio, double gain, std::int64_t tokens, double seconds) {
  return share(
      radio.bits_per_token * static_cast<double>(tokens), seconds, radio.downlink_hz,
      spectral_efficiency(radio.node_power_w, gain, radio.noise_w_per_hz, radio.downlink_hz));
}

}  // namespace edgewise::schedule
