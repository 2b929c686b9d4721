# SPDX-License-Identifier: Apache-2.0
# One interface target with the flags of everything that is built here; users of the library do not inherit it.
add_library(sluice_flags INTERFACE)
target_compile_options(sluice_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fno-semantic-interposition)

# At -O3 g++ 12 sees overflows and unset members in its own std::vector and std::string, where there are none, and with
# sanitizers unset members in std::regex, which Catch uses. The debug build keeps these warnings.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(FALSE_WARNINGS -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread -Wno-restrict
      -Wno-maybe-uninitialized)
  if(SLUICE_SANITIZE)
    target_compile_options(sluice_flags INTERFACE ${FALSE_WARNINGS})
  else()
    target_compile_options(sluice_flags INTERFACE "$<$<CONFIG:Release>:${FALSE_WARNINGS}>")
  endif()
endif()

# What nearly every source reads, compiled beforehand for tests, and for the library where a sanitizer's build would take half as
# long again: its other builds prove that each source includes what it uses.
set(SLUICE_PRECOMPILED <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/types/span.h> <algorithm> <atomic>
    <functional> <memory> <optional> <string> <utility> <vector>)

# Line numbers are all of the debug information that a sanitizer's report needs.
if(SLUICE_SANITIZE)
  add_compile_options(-fsanitize=${SLUICE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=${SLUICE_SANITIZE})
endif()
