# SPDX-License-Identifier: Apache-2.0
# libsluice: every lib/<layer>/**.cc. The objects are also a static archive for the tests, which reach private headers.
file(GLOB_RECURSE SLUICE_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/*.cc)
list(FILTER SLUICE_SOURCES EXCLUDE REGEX "/standalone/")  # programs and plug-ins of their own
file(GLOB_RECURSE SLUICE_HEADERS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/sluice/*.h)

# A backend is a folder; beside it, for builds without its libraries, one source that answers with what is missing.
if(SLUICE_XDP)
  list(FILTER SLUICE_SOURCES EXCLUDE REGEX "/lib/nic/xdp_absent\.cc$")
else()
  list(FILTER SLUICE_SOURCES EXCLUDE REGEX "/lib/nic/xdp/")
  list(APPEND SLUICE_SOURCES ${PROJECT_SOURCE_DIR}/lib/nic/xdp/queue_plan.cc)  # arithmetic, tested everywhere
endif()
if(SLUICE_VERBS)
  list(FILTER SLUICE_SOURCES EXCLUDE REGEX "/lib/nic/(verbs|software_verbs)_absent\.cc$")
else()
  list(FILTER SLUICE_SOURCES EXCLUDE REGEX "/lib/nic/(verbs|softverbs)/")
endif()

add_library(sluice_objects OBJECT ${SLUICE_SOURCES})
set_target_properties(sluice_objects PROPERTIES
  POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_include_directories(sluice_objects
  PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  PRIVATE ${PROJECT_SOURCE_DIR}/lib)
# Per-thread buffer caches are reached on every burst: the library is linked at start-up, so its TLS can be static.
# Loops over a burst are left as they are written: gathering fields of packets that were just written waits for the stores.
target_compile_options(sluice_objects PRIVATE -ftls-model=initial-exec -fno-tree-loop-vectorize)
if(SLUICE_SANITIZE)
  target_precompile_headers(sluice_objects PRIVATE ${SLUICE_PRECOMPILED})
endif()

set(SLUICE_PUBLIC_LIBRARIES absl::status absl::statusor absl::time absl::strings absl::span Threads::Threads)
set(SLUICE_PRIVATE_LIBRARIES absl::str_format Boost::json PkgConfig::URCU)
if(SLUICE_XDP)
  list(APPEND SLUICE_PRIVATE_LIBRARIES PkgConfig::LIBXDP PkgConfig::LIBBPF)
endif()
if(SLUICE_VERBS)
  list(APPEND SLUICE_PRIVATE_LIBRARIES PkgConfig::LIBIBVERBS ${CMAKE_DL_LIBS})
endif()
target_link_libraries(sluice_objects PUBLIC ${SLUICE_PUBLIC_LIBRARIES} PRIVATE ${SLUICE_PRIVATE_LIBRARIES} sluice_flags)

add_library(sluice SHARED)
add_library(sluice::sluice ALIAS sluice)
target_link_libraries(sluice PRIVATE sluice_objects ${SLUICE_PRIVATE_LIBRARIES} PUBLIC ${SLUICE_PUBLIC_LIBRARIES})
target_include_directories(sluice PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(sluice PUBLIC cxx_std_20)
target_link_options(sluice PRIVATE LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/sluice.map LINKER:--no-undefined)
set_target_properties(sluice PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/sluice.map)

# For the tests and benchmarks of private parts only; never installed.
add_library(sluice_internal INTERFACE)
target_sources(sluice_internal INTERFACE $<TARGET_OBJECTS:sluice_objects>)
target_include_directories(sluice_internal INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/lib)
target_link_libraries(sluice_internal INTERFACE ${SLUICE_PUBLIC_LIBRARIES} ${SLUICE_PRIVATE_LIBRARIES})
