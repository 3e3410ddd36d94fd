// Where traces of requests go: from an option and OpenTelemetry's environment variables
// (opentelemetry.io/docs/specs/otel/protocol/exporter).
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "trace/exporter.h"

namespace edgewise::app {

// `endpoint`: the value of --otlp-endpoint; empty: the environment says. Null: nowhere.
Result<std::shared_ptr<trace::Exporter>> create_exporter(const std::string& endpoint);

}  // namespace edgewise::app
