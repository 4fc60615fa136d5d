// SPDX-License-Identifier: Apache-2.0
#include "store/locks.h"

#include <algorithm>

#include <fcntl.h>

namespace bygone::store {
namespace {

// The newest list in condemned/ by number: 10 comes after 9, which the order of names denies.
Result<std::string> newest_generation(Files& files, const std::string& repository) {
  std::string newest = "0";
  for (const std::string& name : TRY(files.list(repository + "/condemned"))) {
    const bool number =
        !name.empty() && name[0] != '0' &&
        std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!number) continue;
    if (name.size() > newest.size() || (name.size() == newest.size() && name > newest)) {
      newest = name;
    }
  }
  return newest;
}

}  // namespace

Result<Fd> lock_generation(Files& files, const std::string& repository) {
  std::string generation = TRY(newest_generation(files, repository));
  for (;;) {
    const std::string path = repository + "/locks/gen/" + generation;
    Fd lock = TRY(files.open(path, O_RDWR | O_CREAT, 0600));
    if (!TRY(files.try_lock(lock, Lock::shared))) {
      return Error{
          Code::busy, 0,
          "locking generation " + generation + ": a prune is finishing it; hint: try again"};
    }
    // A list that appeared before the lock was held binds this session too.
    std::string again = TRY(newest_generation(files, repository));
    if (again == generation) return lock;
    generation = std::move(again);
  }
}

Result<Fd> lock_prune(Files& files, const std::string& repository) {
  Fd lock = TRY(files.open(repository + "/locks/prune", O_RDWR | O_CREAT, 0600));
  if (!TRY(files.try_lock(lock, Lock::exclusive))) {
    return Error{Code::busy, 0,
                 "another prune, repair or change of keys is running; hint: try again later"};
  }
  return lock;
}

}  // namespace bygone::store
