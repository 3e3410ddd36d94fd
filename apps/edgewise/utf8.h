// Makes any bytes printable: what is not UTF-8 becomes U+FFFD, control characters appear as \n, \t or
// \xNN and can do no harm to a terminal.
#pragma once

#include <string>
#include <string_view>

namespace edgewise::app {

std::string to_printable(std::string_view bytes);  // one line

// The same for text of several lines.
std::string to_printable_lines(std::string_view bytes);

}  // namespace edgewise::app
