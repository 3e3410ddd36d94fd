// The manifest of a stored model as JSON text.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "store/store.h"

namespace edgewise::store {

std::string manifest_to_json(const StoredModel& model);

// `origin` is named in errors. The result's name is empty.
Result<StoredModel> manifest_from_json(std::string_view text, std::string_view origin);

}  // namespace edgewise::store
