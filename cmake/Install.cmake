# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` lays down: headers, libsluice.so, the CMake package and sluice.pc. All of it is relocatable: the
# tree can be installed under any --prefix, and moved afterwards.
include(CMakePackageConfigHelpers)
set(SLUICE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/sluice)
set(SLUICE_PACKAGE_DIR ${PROJECT_BINARY_DIR}/package)

install(TARGETS sluice EXPORT sluiceTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/sluice DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
install(EXPORT sluiceTargets NAMESPACE sluice:: DESTINATION ${SLUICE_CMAKE_DIR})

# Before 1.0 a new minor version may change anything.
write_basic_package_version_file(${SLUICE_PACKAGE_DIR}/sluiceConfigVersion.cmake COMPATIBILITY SameMinorVersion)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/sluiceConfig.cmake.in
  ${SLUICE_PACKAGE_DIR}/sluiceConfig.cmake INSTALL_DESTINATION ${SLUICE_CMAKE_DIR})
install(FILES ${SLUICE_PACKAGE_DIR}/sluiceConfig.cmake ${SLUICE_PACKAGE_DIR}/sluiceConfigVersion.cmake
        DESTINATION ${SLUICE_CMAKE_DIR})

# sluice.pc says where it stands relative to itself, and names the same libraries as the CMake target.
file(RELATIVE_PATH SLUICE_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" SLUICE_PC_PREFIX "${SLUICE_PC_PREFIX}")
set(SLUICE_PC_REQUIRES ${SLUICE_PUBLIC_LIBRARIES})
list(FILTER SLUICE_PC_REQUIRES INCLUDE REGEX "^absl::")
list(TRANSFORM SLUICE_PC_REQUIRES REPLACE "^absl::" "absl_")
list(JOIN SLUICE_PC_REQUIRES ", " SLUICE_PC_REQUIRES)
configure_file(${PROJECT_SOURCE_DIR}/cmake/sluice.pc.in ${SLUICE_PACKAGE_DIR}/sluice.pc @ONLY)
install(FILES ${SLUICE_PACKAGE_DIR}/sluice.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
