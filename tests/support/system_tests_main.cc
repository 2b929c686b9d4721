// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "tests/support/requirement_main.h"

namespace {

std::string MissingPrivilege() {
  return geteuid() == 0 ? "" : "needs root, to make network namespaces and open AF_XDP, AF_PACKET and TAP";
}

}  // namespace

int main(int argc, char** argv) { return sluice::testing::MainUnless(MissingPrivilege, argc, argv); }
