// SPDX-License-Identifier: Apache-2.0
#include "store/temp_file.h"

#include <cerrno>
#include <chrono>
#include <thread>

#include <fcntl.h>

#include "store/base/log.h"

namespace bygone::store {
namespace {

constexpr int kAttempts = 200;
constexpr std::chrono::milliseconds kCleanerPause{5};

// A folder (a NAS puts its own everywhere), a link, or a file of another user.
bool is_not_ours(const Error& error) {
  return error.code == Code::invalid || error.errnum == EACCES || error.errnum == EPERM;
}

}  // namespace

Result<TempFile> TempFile::create(Files& files, const std::string& folder,
                                  const std::string& name) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    TempFile temp;
    temp.path_ = folder + "/" + name;
    auto fd = files.open(temp.path_, O_RDWR | O_CREAT | O_EXCL, 0600);
    // A cleaner may take the lock between open and flock, and unlink the file a moment later: then
    // begin again. The name is ours alone, so what stands there is what we made.
    if (!fd && fd.error().code == Code::exists && attempt > 0) {
      std::this_thread::sleep_for(kCleanerPause);
      continue;
    }
    if (!fd) return std::move(fd).error();
    temp.fd_ = std::move(fd).value();
    if (!TRY(files.try_lock(temp.fd_, Lock::exclusive))) continue;
    const FileInfo info = TRY(files.info(temp.fd_));
    if (info.links > 0) return temp;
  }
  return Error{Code::busy, 0, "creating " + folder + "/" + name + ": others keep removing it"};
}

Result<void> clean_temp_folder(Files& files, const std::string& folder) {
  TRY(expect_folder(files, folder));  // behind a link all that stands there would go
  for (const std::string& name : TRY(files.list(folder))) {
    const std::string path = folder + "/" + name;
    auto fd = open_plain(files, path, O_RDWR, 0);
    if (!fd && fd.error().code == Code::not_found) continue;
    if (!fd && is_not_ours(fd.error())) {
      log::info(fd.error().message + ": left alone");
      continue;
    }
    if (!fd) return std::move(fd).error();
    if (!TRY(files.try_lock(*fd, Lock::exclusive))) continue;
    auto removed = files.remove(path);
    if (!removed && removed.error().code != Code::not_found) return removed;
  }
  return {};
}

Result<void> make_folders(Files& files, const std::string& path) {
  const std::string parent = parent_folder(path);
  auto made = files.make_directory(path);
  if (!made && made.error().code == Code::not_found && parent != path) {
    TRY(make_folders(files, parent));
    made = files.make_directory(path);
  }
  if (made) return files.sync_directory(parent);
  return made.error().code == Code::exists ? Result<void>() : made;
}

Result<std::string> own_temp_folder(Files& files, const std::string& folder) {
  TRY(make_folders(files, folder));
  std::string temp = folder + "/tmp";
  auto made = files.make_directory(temp);
  if (!made && made.error().code != Code::exists) return std::move(made).error();
  TRY(clean_temp_folder(files, temp));
  return temp;
}

Result<void> write_synced(Files& files, const std::string& tmp_folder, const std::string& folder,
                          const std::string& name, ByteView data) {
  const TempFile temp = TRY(TempFile::create(files, tmp_folder, name));
  const auto write = [&]() -> Result<void> {
    TRY(files.write_at(temp.fd(), data, 0));
    TRY(files.sync_data(temp.fd()));
    return files.rename(temp.path(), folder + "/" + name);
  };
  auto written = write();
  if (!written) {
    ignore(files.remove(temp.path()), "the first error is the one to report");
    return std::move(written).error().with("writing " + folder + "/" + name);
  }
  return {};
}

Result<void> write_durably(Files& files, const std::string& tmp_folder, const std::string& folder,
                           const std::string& name, ByteView data) {
  TRY(write_synced(files, tmp_folder, folder, name, data));
  return files.sync_directory(folder);
}

}  // namespace bygone::store
