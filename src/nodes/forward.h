// One request, answered by another server: sent there with what is settled about it, and the reply relayed to the client.
#pragma once

#include <stop_token>
#include <string>

#include "api/placement.h"

namespace edgewise::nodes {

// Where, and as whom.
struct Target {
  std::string url;               // "http://10.0.0.2:8080"
  std::string key;               // empty: none is sent
  std::string authorities_file;  // PEM; empty: the system's
  std::string model;             // as it is called there
  bool names_tenants = false;    // KeyPolicy::front of the key
};

enum class Forwarded {
  kAnswered,  // or refused for good, or the client is gone
  kRefused,   // not answered, and the client was told nothing: another server may answer
  kVanished,  // the same, but it may have been the request that did it
  kLost,      // cut in the middle; the client was told so
};

struct ForwardResult {
  Forwarded outcome = Forwarded::kAnswered;
  std::string why;  // not answered; for the log
};

// Blocks until then. `stop`: the server is lost, or the client is gone.
ForwardResult forward(const Target& target,
                      api::PlacedRequest& request,
                      const std::stop_token& stop);

}  // namespace edgewise::nodes
