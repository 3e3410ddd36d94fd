// The messages of a chat request: checked, and written as the plain form that chat templates
// expect.
//
// Content parts become one string: text parts joined with a line break. A part that says `volatile: true` (a
// clock, a sensor's value) goes to the end of the last user message, so that what comes before is the
// same text in every request and need not be computed again. After that message it stays in its place.
#pragma once

#include <cstdint>
#include <string>

#include "api/fields.h"

namespace edgewise::api {

struct Messages {
  std::string json;              // of the array
  std::int64_t moved_parts = 0;  // that went to the end of the last user message
};

// Problems carry the exact path.
Messages parse_messages(Fields& request);

}  // namespace edgewise::api
