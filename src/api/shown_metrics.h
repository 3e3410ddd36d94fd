// What Metrics and ModelMetrics do alike with prometheus' registry. Internal to them.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace edgewise::api {

// Seconds, from a cached answer to a long one on a slow machine.
inline const prometheus::Histogram::BucketBoundaries kDuration = {0.005, 0.025, 0.1, 0.5, 1,   2.5,
                                                                  5,     10,    30,  60,  120, 300};

prometheus::Counter& counter(prometheus::Registry& registry,
                             const char* name,
                             const char* help,
                             const prometheus::Labels& labels);

void show_gauge(prometheus::Registry& registry,
                const char* name,
                const char* help,
                double value,
                const prometheus::Labels& labels = {});

// A counter that is kept elsewhere. One thread at a time: it adds what is missing.
void show_total(prometheus::Registry& registry,
                const char* name,
                const char* help,
                double value,
                const prometheus::Labels& labels = {});

}  // namespace edgewise::api
