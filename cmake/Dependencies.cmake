# SPDX-License-Identifier: Apache-2.0
# What the library links. Required parts stop the configuration; each optional part is reported as found, or as absent
# with the Debian package that brings it, and its backend then refuses at run time with the same name.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
pkg_check_modules(URCU REQUIRED IMPORTED_TARGET liburcu-bp)

# sluice_optional(<VAR> <pkg-config module> <Debian package> <what it is for>)
function(sluice_optional var module package purpose)
  pkg_check_modules(${var} QUIET IMPORTED_TARGET ${module})
  if(${var}_FOUND)
    message(STATUS "sluice: ${purpose}: found (${module} ${${var}_VERSION})")
  else()
    message(STATUS "sluice: ${purpose}: absent (install ${package})")
  endif()
  set(${var}_FOUND "${${var}_FOUND}" PARENT_SCOPE)
endfunction()

sluice_optional(LIBXDP libxdp libxdp-dev "AF_XDP ports")
sluice_optional(LIBBPF libbpf libbpf-dev "AF_XDP program loading")
option(SLUICE_WITH_XDP "Build AF_XDP ports where libxdp and libbpf are found" ON)
if(SLUICE_WITH_XDP AND LIBXDP_FOUND AND LIBBPF_FOUND)
  set(SLUICE_XDP ON)
endif()

sluice_optional(LIBIBVERBS libibverbs libibverbs-dev "verbs ports and the software verbs device")
option(SLUICE_WITH_VERBS "Build what needs libibverbs where it is found" ON)
if(SLUICE_WITH_VERBS AND LIBIBVERBS_FOUND)
  set(SLUICE_VERBS ON)
endif()
