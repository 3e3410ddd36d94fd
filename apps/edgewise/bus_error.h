// Says why the process ends when a mapped file can no longer be read.
#pragma once

namespace edgewise::app {

// A model that is shortened in place, or a disk that fails, is a SIGBUS at the next use of what is
// gone. The process then ends with kExitBadModel and a sentence instead of a bare "Bus error".
void explain_bus_errors();

}  // namespace edgewise::app
