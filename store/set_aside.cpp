// SPDX-License-Identifier: Apache-2.0
#include "store/set_aside.h"

#include "store/locks.h"

namespace bygone::store {

Result<RepairLocks> lock_for_repair(Files& files, const std::string& repository) {
  RepairLocks locks;
  locks.prune = TRY(lock_prune(files, repository));
  locks.generation = TRY(lock_generation(files, repository));
  return locks;
}

Result<std::string> free_name(Files& files, const std::string& repository,
                              const std::string& name) {
  const std::string target = repository + "/damaged";
  if (auto made = files.make_directory(target); !made && made.error().code != Code::exists) {
    return std::move(made).error();
  }
  // A rename replaces silently what has the name: somebody may have brought a file back by hand,
  // and it was damaged again.
  std::string as = name;
  for (int n = 2;; ++n) {
    const auto taken = files.info(target + "/" + as);
    if (!taken && taken.error().code == Code::not_found) return as;
    if (!taken) return taken.error();
    as = name + "." + std::to_string(n);
  }
}

Result<std::string> set_aside(Files& files, const std::string& repository,
                              const std::string& folder, const std::string& name,
                              const std::string& prefix) {
  const std::string target = repository + "/damaged";
  const std::string as = TRY(free_name(files, repository, prefix + name));
  TRY(files.rename(repository + "/" + folder + "/" + name, target + "/" + as));
  // The new name first: a power cut in between leaves two names or either, never none.
  TRY(files.sync_directory(target));
  TRY(files.sync_directory(repository + "/" + folder));
  return "damaged/" + as;
}

}  // namespace bygone::store
