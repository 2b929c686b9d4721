# SPDX-License-Identifier: Apache-2.0
# One interface target with the flags of everything that is built here; users of the library do not inherit it.
add_library(sluice_flags INTERFACE)
target_compile_options(sluice_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fno-semantic-interposition
  $<$<CONFIG:Release>:-O3>)
# At -O3 g++ 12 sees overflows in its own std::vector::insert and std::string, where there are none; the debug builds keep
# these warnings, and run under AddressSanitizer.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(sluice_flags INTERFACE
    $<$<CONFIG:Release>:-Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread -Wno-restrict>)
endif()

if(SLUICE_SANITIZE)
  add_compile_options(-fsanitize=${SLUICE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1)
  add_link_options(-fsanitize=${SLUICE_SANITIZE})
endif()
