// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <csignal>
#include <cstdio>

#include <sys/resource.h>

#include "cli/exit_codes.h"
#include "cli/options.h"
#include "store/crypto.h"
#include "store/index.h"

namespace {

// A walk keeps folders open. What a program may have without asking, mostly 1024, is so low for the
// sake of select(2), which is not used here.
void raise_descriptor_limit() {
  constexpr rlim_t kEnough = 64u << 10;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kEnough) return;
  limit.rlim_cur = std::min(limit.rlim_max, kEnough);
  // A refusal leaves what there was, and that does.
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
}

}  // namespace

int main(int argc, char** argv) {
  raise_descriptor_limit();
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
