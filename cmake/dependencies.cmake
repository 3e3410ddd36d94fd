# Every library the program or its tests link, with the reason. Installed by tools/install_deps.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)           # text formatting: g++ 12 has no std::format
find_package(tl-expected REQUIRED)   # Result<T>: g++ 12 has no std::expected in C++20
find_package(OpenSSL REQUIRED)       # TLS, SHA-256
find_package(Boost 1.81 REQUIRED COMPONENTS json)  # Asio and Beast (HTTP), JSON parsing
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)   # pre-tokenizer patterns: lookahead and \p{..}
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)  # Unicode normalization and classes
pkg_check_modules(EDIT REQUIRED IMPORTED_TARGET libedit)       # line editing in `run`
find_package(prometheus-cpp REQUIRED COMPONENTS core)          # /metrics
find_package(CLI11 REQUIRED)         # command line
find_package(GTest REQUIRED)         # tests
# rapidcheck (property tests): Debian ships headers and a static library without a usable config file
find_library(RAPIDCHECK_LIBRARY rapidcheck REQUIRED)
add_library(rapidcheck INTERFACE)
target_link_libraries(rapidcheck INTERFACE ${RAPIDCHECK_LIBRARY})
