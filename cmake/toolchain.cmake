# Compiler cache, linker, warnings and sanitizers, the same for every target.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD AND NOT CMAKE_CROSSCOMPILING)
  add_link_options(-fuse-ld=mold)
endif()
if(EDGEWISE_SANITIZE)
  add_compile_options(-fsanitize=${EDGEWISE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=${EDGEWISE_SANITIZE})
endif()
if(EDGEWISE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage for libFuzzer in all library code; see tests/fuzz
endif()
set(EDGEWISE_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  list(APPEND EDGEWISE_WARNINGS -Wthread-safety)  # base/mutex.h
  # libstdc++ 12 silences its own use of std::get_temporary_buffer (std::stable_sort) for g++ only.
  list(APPEND EDGEWISE_WARNINGS -Wno-deprecated-declarations)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False alarms of g++ 12 on inlined std::string and std::vector (GCC bugs 105651, 104475).
  list(APPEND EDGEWISE_WARNINGS -Wno-restrict -Wno-free-nonheap-object)
  if(EDGEWISE_SANITIZE)
    # Instrumentation makes these unreliable: GCC's manual says so of the first; the second fires in Boost.Asio's own
    # pair of operator new and delete, of which only one is inlined.
    list(APPEND EDGEWISE_WARNINGS -Wno-maybe-uninitialized -Wno-mismatched-new-delete)
  endif()
endif()
