// The interactive conversation of `edgewise run`: a prompt, streaming answers, commands. The whole
// conversation is sent each turn; the engine reuses what it still holds of it, so only the new part
// is computed.
#pragma once

#include <string>

#include "base/result.h"
#include "chat/generation.h"
#include "conversation.h"
#include "interrupt.h"

namespace edgewise::app {

struct SessionOptions {
  chat::GenerationOptions generation;
  std::string system;
  bool templated = true;  // false: each input is completed on its own
  bool stats = false;
};

// Returns when the user leaves.
Result<void> hold_conversation(chat::Generator& generator,
                               Interrupt& interrupt,
                               const SessionOptions& options);

}  // namespace edgewise::app
