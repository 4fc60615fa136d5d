// SPDX-License-Identifier: Apache-2.0
#include "store/reserve.h"

#include <fcntl.h>

#include "store/base/log.h"
#include "store/format.h"
#include "store/temp_file.h"

namespace bygone::store {

// Made in tmp/ and renamed when its blocks are there: half a reserve would look like a whole one.
// Nothing is synced: should the power take it, the next session makes another.
Result<void> make_reserve(Files& files, const std::string& repository) {
  const std::string path = repository + "/reserve";
  if (files.info(path)) return {};
  const TempFile temp = TRY(TempFile::create(files, repository + "/tmp", "reserve"));
  const auto fill = [&]() -> Result<void> {
    TRY(files.allocate(temp.fd(), kReserveBytes));
    return files.rename(temp.path(), path);
  };
  auto filled = fill();
  if (!filled) ignore(files.remove(temp.path()), "the first error is the one to report");
  return filled;
}

Result<bool> release_reserve(Files& files, const std::string& repository) {
  auto removed = files.remove(repository + "/reserve");
  if (!removed && removed.error().code == Code::not_found) return false;
  if (!removed) return std::move(removed).error();
  // Some file systems give blocks back only with their next transaction.
  TRY(files.sync_directory(repository));
  return true;
}

Result<void> with_reserve(Files& files, const std::string& repository,
                          const std::function<Result<void>()>& work) {
  auto done = work();
  if (done || done.error().code != Code::no_space) return done;
  if (!TRY(release_reserve(files, repository))) return done;
  log::info("the disk is full: using the space that was set aside for this");
  return work();
}

void renew_reserve(Files& files, const std::string& repository) {
  if (auto made = make_reserve(files, repository); !made) {
    log::info("setting space aside for a full disk: " + made.error().message);
  }
}

}  // namespace bygone::store
