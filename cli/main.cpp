// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdio>

#include "cli/exit_codes.h"
#include "cli/options.h"
#include "store/crypto.h"
#include "store/index.h"

int main(int argc, char** argv) {
  bygone::store::forbid_core_dumps();
  bygone::store::watch_for_index_crashes();
  // A reader of our output that goes away is seen as EPIPE: a backup must not die of it.
  std::signal(SIGPIPE, SIG_IGN);
  if (const auto ready = bygone::store::init_crypto(); !ready.ok()) {
    std::fprintf(stderr, "bygone: error: %s\n", ready.error().message.c_str());
    return static_cast<int>(bygone::cli::Exit::failed);
  }
  return bygone::cli::run(argc, argv);
}
