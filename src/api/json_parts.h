// Pieces of JSON that chat and text completions share.
#pragma once

#include "api/chat_format.h"
#include "api/json_writer.h"

namespace edgewise::api {

// Opens the object and writes id, object, created, model and system_fingerprint.
void begin_reply(JsonWriter& out, const ReplyIdentity& identity, std::string_view object);

// "usage": {...}
void write_usage(JsonWriter& out, const UsageTotals& usage);

std::string_view finish_name(chat::Finish finish);

}  // namespace edgewise::api
