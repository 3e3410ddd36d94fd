// How a server's engines stand, as JSON: what GET /edgewise/load tells servers that give it requests (src/nodes).
//
// Times are seconds from the moment of telling; one that is left out never comes. Only what dispatching looks at is told.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admission/forecast.h"
#include "api/auth.h"
#include "base/result.h"

namespace edgewise::api {

struct ModelLoad {
  std::string id;
  std::string group = {};  // ModelCard::group, and so the next
  std::optional<double> accuracy = std::nullopt;
  std::optional<admission::Load> load = std::nullopt;  // nothing: not known yet
};

struct ServerLoad {
  std::vector<ModelLoad> models;
  bool is_draining = false;       // takes no new requests
  bool may_name_tenants = false;  // KeyPolicy::front of the key that asked
};

std::string load_json(const ServerLoad& load);

// Every number is checked: what was computed from a load that passes stays finite.
Result<ServerLoad> parse_load(std::string_view json);

}  // namespace edgewise::api
