# edgewise_rust: the crate rust/edgewise_text (chat templates, constrained decoding) as a library to link.
#
# Built by cargo from the committed Cargo.lock. One target folder serves all presets: the crates do not depend on
# the preset, and compiling them takes minutes. EDGEWISE_RUST_BUILD_DIR moves it.
find_program(CARGO NAMES cargo cargo-web HINTS $ENV{HOME}/.cargo/bin REQUIRED)
set(EDGEWISE_RUST_BUILD_DIR ${PROJECT_SOURCE_DIR}/build/rust CACHE PATH "Where cargo builds, shared between presets")

# Debian 12 carries a current Rust as the packages rustc-web and cargo-web, whose programs keep their plain names
# or carry the suffix, depending on the version.
# The mangling makes every Rust function's symbol begin with _R: tests/tsan.supp relies on it.
set(cargo_environment CARGO_TARGET_DIR=${EDGEWISE_RUST_BUILD_DIR} "RUSTFLAGS=-C symbol-mangling-version=v0")
get_filename_component(cargo_name ${CARGO} NAME)
if(cargo_name STREQUAL "cargo-web")
  find_program(RUSTC NAMES rustc-web rustc REQUIRED)
  list(APPEND cargo_environment RUSTC=${RUSTC})
endif()

set(rust_source ${PROJECT_SOURCE_DIR}/rust/edgewise_text)
set(rust_library ${EDGEWISE_RUST_BUILD_DIR}/release/libedgewise_text.a)
file(GLOB rust_files CONFIGURE_DEPENDS ${rust_source}/src/*.rs)
add_custom_command(
  OUTPUT ${rust_library}
  COMMAND ${CMAKE_COMMAND} -E env ${cargo_environment}
          ${CARGO} build --release --locked --manifest-path ${rust_source}/Cargo.toml
  # cargo leaves an unchanged library untouched, which ninja would take for a failure to build it
  COMMAND ${CMAKE_COMMAND} -E touch ${rust_library}
  DEPENDS ${rust_files} ${rust_source}/Cargo.toml ${rust_source}/Cargo.lock
  COMMENT "Building the Rust crates (chat templates, grammars); the first time takes a minute or more"
  USES_TERMINAL VERBATIM)
add_custom_target(edgewise_rust_build DEPENDS ${rust_library})

add_library(edgewise_rust STATIC IMPORTED GLOBAL)
set_target_properties(edgewise_rust PROPERTIES
  IMPORTED_LOCATION ${rust_library}
  INTERFACE_INCLUDE_DIRECTORIES ${rust_source}/include
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
add_dependencies(edgewise_rust edgewise_rust_build)
