// Renders chat templates for tests/golden/check_templates.py. Argument: the moment in Unix seconds. Each line of
// standard input is "template path TAB context path"; each answer is "ok|error SIZE NEWLINE" and SIZE bytes.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "text/chat_template.h"

namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

edgewise::Result<std::string> render(const std::string& source,
                                     const std::string& context,
                                     long long now) {
  const auto compiled = TRY(edgewise::text::ChatTemplate::compile(source));
  return compiled.render_at(context, now);
}

}  // namespace

int main(int argc, char** argv) {
  const long long now = argc > 1 ? std::atoll(argv[1]) : 0;
  for (std::string line; std::getline(std::cin, line);) {
    const auto tab = line.find('\t');
    if (tab == std::string::npos) {
      std::cerr << "a line needs two paths with a tab between them: " << line << "\n";
      return 1;
    }
    const auto output =
        render(read_file(line.substr(0, tab)), read_file(line.substr(tab + 1)), now);
    const std::string& text = output ? *output : output.error().message;
    std::cout << (output ? "ok " : "error ") << text.size() << "\n" << text;
  }
}
