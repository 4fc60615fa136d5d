// SPDX-License-Identifier: Apache-2.0
#include "store/locks.h"

#include <chrono>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>

#include "store/condemned.h"

namespace bygone::store {
namespace {

constexpr std::chrono::seconds kNamesPatience{30};
constexpr std::chrono::milliseconds kNamesPause{2};

Result<std::uint64_t> newest_generation(Files& files, const std::string& repository) {
  const auto generations = TRY(condemned_generations(files, repository));
  return generations.empty() ? 0 : generations.back();
}

}  // namespace

std::string generation_lock_path(const std::string& repository, std::uint64_t generation) {
  return repository + "/locks/gen/" + std::to_string(generation);
}

Result<Fd> lock_generation(Files& files, const std::string& repository) {
  std::uint64_t generation = TRY(newest_generation(files, repository));
  for (;;) {
    Fd lock = TRY(files.open(generation_lock_path(repository, generation), O_RDWR | O_CREAT, 0600));
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
  Fd lock = TRY(files.open(repository + "/locks/prune", O_RDWR | O_CREAT, 0600));
  if (!TRY(files.try_lock(lock, Lock::exclusive))) {
    return Error{Code::busy, 0,
                 "another prune, repair or change of keys is running; hint: try again later"};
  }
  return lock;
}

Result<std::optional<std::vector<Fd>>> lock_older_generations(Files& files,
                                                              const std::string& repository,
                                                              std::uint64_t newest) {
  std::vector<Fd> locks;
  for (const std::string& name : TRY(files.list(repository + "/locks/gen"))) {
    const auto number = generation_number(name);
    if (!number || *number >= newest) continue;
    auto lock = files.open(repository + "/locks/gen/" + name, O_RDWR, 0);
    if (!lock && lock.error().code == Code::not_found) continue;
    if (!lock) return std::move(lock).error();
    if (!TRY(files.try_lock(*lock, Lock::exclusive))) return std::optional<std::vector<Fd>>();
    locks.push_back(std::move(lock).value());
  }
  return std::optional<std::vector<Fd>>(std::move(locks));
}

Result<Fd> lock_names(Files& files, const std::string& repository, Lock lock) {
  const std::string path = repository + "/locks/names";
  Fd fd = TRY(files.open(path, O_RDWR | O_CREAT, 0600));
  const auto until = std::chrono::steady_clock::now() + kNamesPatience;
  while (!TRY(files.try_lock(fd, lock))) {
    if (std::chrono::steady_clock::now() > until) {
      return Error{Code::busy, 0, "locking " + path + ": others hold it; hint: try again"};
    }
    std::this_thread::sleep_for(kNamesPause);
  }
  return fd;
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
