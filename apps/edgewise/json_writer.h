// The JSON of --json: api::JsonWriter with one name for every kind of value, printed as one line.
#pragma once

#include <cstdint>
#include <string_view>

#include "api/json_writer.h"
#include "terminal.h"

namespace edgewise::app {

class JsonWriter {
 public:
  void begin_object() { json_.begin_object(); }

  void end_object() { json_.end_object(); }

  void begin_array() { json_.begin_array(); }

  void end_array() { json_.end_array(); }

  void key(std::string_view name) { json_.key(name); }

  void value(std::string_view text) { json_.string(text); }

  void value(const char* text) { json_.string(text); }

  void value(double number) { json_.number(number); }

  void value(float number) { json_.number(number); }

  void value(std::int64_t number) { json_.integer(number); }

  void value(std::uint64_t number) { json_.raw(fmt::format("{}", number)); }

  void value(int number) { json_.integer(number); }

  void value(bool truth) { json_.boolean(truth); }

  template <typename T>
  void field(std::string_view name, const T& content) {
    key(name);
    value(content);
  }

  std::string_view text() const { return json_.text(); }

  void print_line() const { write_out("{}\n", json_.text()); }

 private:
  api::JsonWriter json_;
};

}  // namespace edgewise::app
