# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` lays down: headers, libsluice.so, the CMake package and sluice.pc.
