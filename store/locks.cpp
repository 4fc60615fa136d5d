// SPDX-License-Identifier: Apache-2.0
#include "store/locks.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/bytes.h"
#include "store/condemned.h"

namespace bygone::store {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kPause{2};
constexpr std::size_t kHolderBytes = 256;

std::string own_text(std::string_view purpose) {
  char host[256] = {};
  const bool named = ::gethostname(host, sizeof host - 1) == 0;
  std::string text = "process " + std::to_string(::getpid()) + " on " +
                     (named ? std::string(host) : "this host") + " (" + std::string(purpose) + ")";
  text.resize(std::min(text.size(), kHolderBytes - 1));
  return text;
}

// Who says in the file to hold it; empty when nobody does.
std::string holder(Files& files, const Fd& fd) {
  Bytes text(kHolderBytes);
  const auto read = files.read_at(fd, text, 0);
  if (!read) return {};
  text.resize(*read);
  return printable(as_text(text).substr(0, as_text(text).find('\0')));
}

Result<std::uint64_t> newest_generation(Files& files, const std::string& repository) {
  const auto generations = TRY(condemned_generations(files, repository));
  return generations.empty() ? 0 : generations.back();
}

}  // namespace

std::string generation_lock_path(const std::string& repository, std::uint64_t generation) {
  return repository + "/locks/gen/" + std::to_string(generation);
}

Result<void> expect_lock_folders(Files& files, const std::string& repository) {
  for (const char* folder : {"/locks", "/locks/gen", "/locks/source"}) {
    auto real = expect_folder(files, repository + folder);
    if (!real && real.error().code != Code::not_found) return real;
  }
  return {};
}

Result<Fd> lock_generation(Files& files, const std::string& repository) {
  std::uint64_t generation = TRY(newest_generation(files, repository));
  TRY(expect_lock_folders(files, repository));
  for (;;) {
    Fd lock = TRY(
        open_plain(files, generation_lock_path(repository, generation), O_RDWR | O_CREAT, 0600));
    const bool locked = TRY(files.try_lock(lock, Lock::shared));
    // A list that appeared before the lock was held binds this session too. Whoever holds a lock
    // exclusively has written such a list before.
    const std::uint64_t again = TRY(newest_generation(files, repository));
    if (locked && again == generation) return lock;
    if (again == generation) {
      return Error{Code::busy, 0,
                   "locking generation " + std::to_string(generation) +
                       ": a prune is finishing it; hint: try again"};
    }
    generation = again;
  }
}

Result<Fd> lock_prune(Files& files, const std::string& repository) {
  TRY(expect_lock_folders(files, repository));
  return lock_exclusively(files, repository + "/locks/prune", "prune, repair or change of keys",
                          "another prune, repair or change of keys is running", "try again later");
}

Result<Fd> lock_exclusively(Files& files, const std::string& path, std::string_view purpose,
                            const std::string& what, const std::string& hint) {
  Fd lock = TRY(open_plain(files, path, O_RDWR | O_CREAT, 0600));
  if (!TRY(files.try_lock(lock, Lock::exclusive))) {
    const std::string who = holder(files, lock);
    return Error{Code::busy, 0, what + (who.empty() ? "" : ": " + who) + "; hint: " + hint};
  }
  std::string text = own_text(purpose);
  text.resize(kHolderBytes);
  // A full disk must not keep anybody from a lock.
  ignore(files.write_at(lock, as_bytes(text), 0), "it is information for people");
  return lock;
}

Result<std::optional<std::vector<Fd>>> lock_older_generations(Files& files,
                                                              const std::string& repository,
                                                              std::uint64_t newest) {
  TRY(expect_lock_folders(files, repository));
  std::vector<Fd> locks;
  for (const std::string& name : TRY(files.list(repository + "/locks/gen"))) {
    const auto number = generation_number(name);
    if (!number || *number >= newest) continue;
    auto lock = open_plain(files, repository + "/locks/gen/" + name, O_RDWR, 0);
    if (!lock && lock.error().code == Code::not_found) continue;
    if (!lock) return std::move(lock).error();
    if (!TRY(files.try_lock(*lock, Lock::exclusive))) return std::optional<std::vector<Fd>>();
    locks.push_back(std::move(lock).value());
  }
  return std::optional<std::vector<Fd>>(std::move(locks));
}

Result<Fd> lock_names(Files& files, const std::string& repository, Lock lock) {
  const std::string path = repository + "/locks/names";
  TRY(expect_lock_folders(files, repository));
  Fd fd = TRY(open_plain(files, path, O_RDWR | O_CREAT, 0600));
  TRY(wait_for_lock(files, fd, lock, "locking " + path + ": others hold it; hint: try again"));
  return fd;
}

Result<void> wait_for_lock(Files& files, const Fd& fd, Lock lock, const std::string& busy) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!TRY(files.try_lock(fd, lock))) {
    if (std::chrono::steady_clock::now() > until) return Error{Code::busy, 0, busy};
    std::this_thread::sleep_for(kPause);
  }
  return {};
}

std::vector<int> lock_holders(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  // proc(5): "1: FLOCK  ADVISORY  READ 1234 fd:01:131076 0 EOF".
  const std::string inode = ":" + std::to_string(status.st_ino);
  std::ifstream table("/proc/locks");
  std::set<int> holders;
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string number, type, mode, access, where;
    int pid = 0;
    words >> number >> type >> mode >> access >> pid >> where;
    if (type == "FLOCK" && pid > 0 && where.ends_with(inode)) holders.insert(pid);
  }
  return {holders.begin(), holders.end()};
}

}  // namespace bygone::store
