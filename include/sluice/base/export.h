// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_EXPORT_H_
#define SLUICE_BASE_EXPORT_H_

// Marks what libsluice.so shows to its users; everything else is hidden.
#define SLUICE_EXPORT [[gnu::visibility("default")]]

#endif  // SLUICE_BASE_EXPORT_H_
