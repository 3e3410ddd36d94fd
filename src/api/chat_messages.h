// The messages of a chat request: checked, and written as the plain form that chat templates
// expect.
//
// Content parts become one string: text parts joined with a line break.
#pragma once

#include <string>

#include "api/fields.h"

namespace edgewise::api {

// JSON of the array; problems carry the exact path.
std::string parse_messages(Fields& request);

}  // namespace edgewise::api
