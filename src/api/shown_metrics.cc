#include "api/shown_metrics.h"

#include <prometheus/gauge.h>

#include <algorithm>

namespace edgewise::api {

prometheus::Counter& counter(prometheus::Registry& registry,
                             const char* name,
                             const char* help,
                             const prometheus::Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
}

void show_gauge(prometheus::Registry& registry,
                const char* name,
                const char* help,
                double value,
                const prometheus::Labels& labels) {
  prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels).Set(value);
}

void show_total(prometheus::Registry& registry,
                const char* name,
                const char* help,
                double value,
                const prometheus::Labels& labels) {
  prometheus::Counter& shown = counter(registry, name, help, labels);
  shown.Increment(std::max(0.0, value - shown.Value()));
}

}  // namespace edgewise::api
