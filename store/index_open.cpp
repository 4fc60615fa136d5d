// SPDX-License-Identifier: Apache-2.0
// The half of index.h that opens: a damaged or suspect index is replaced by an empty one.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <ctime>

#include <fcntl.h>
#include <unistd.h>

#include "store/base/codec.h"
#include "store/base/log.h"
#include "store/index.h"
#include "store/index_filter.h"
#include "store/lmdb.h"
#include "store/locks.h"

namespace bygone::store {
namespace {

constexpr std::uint32_t kSchema = 3;
constexpr std::string_view kSchemaKey = "schema";
constexpr const char* kSuspect = "/suspect";
constexpr const char* kLmdbFiles[] = {"/data.mdb", "/lock.mdb"};

// Held shared while an index is opened, exclusively while its files are replaced.
Result<Fd> lock_folder(Files& files, const std::string& folder, Lock lock) {
  Fd fd = TRY(files.open(folder, O_RDONLY | O_DIRECTORY, 0));
  TRY(wait_for_lock(files, fd, lock, "index " + folder + ": others keep opening it"));
  return fd;
}

// For the signal handler: the suspect mark, what is set aside for a full disk, or nothing, and the
// folder of both.
using HandlerPath = std::array<char, 4096>;
HandlerPath g_suspect_path{}, g_reserve_path{}, g_folder_path{};
std::atomic<bool> g_index_open{false};
constexpr std::array kCrashes{SIGSEGV, SIGBUS, SIGABRT};
std::array<struct sigaction, kCrashes.size()> g_before{};

void write_text(std::string_view text) {
  const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  static_cast<void>(written);
}

// Whoever reads, too, writes to the mapping of lock.mdb. On a file system that copies on write that
// takes room, and where there is none the kernel has no answer but SIGBUS. What is set aside may
// help, and the instruction is tried again; so it is for a while where another thread or process
// has taken it just now. Nothing here but system calls.
bool make_room() {
  constexpr int kTries = 100;
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 50'000'000};
  constexpr time_t kSeconds = 10;  // of quiet, after which it is another fault
  static std::atomic<int> tries{0};
  static std::atomic<time_t> last{0};
  if (g_reserve_path[0] == '\0') return false;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  if (now.tv_sec - last.exchange(now.tv_sec) > kSeconds) tries = 0;
  if (++tries > kTries) return false;
  if (::unlink(g_reserve_path.data()) != 0) {
    ::nanosleep(&kPause, nullptr);
    return true;
  }
  write_text("bygone: the disk is full: using the space that was set aside for this\n");
  // Blocks come back with the next transaction.
  const int fd = ::open(g_folder_path.data(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    ::syncfs(fd);
    ::close(fd);
  }
  return true;
}

void on_crash(int signal, siginfo_t* info, void*) {
  const int before = errno;
  const bool lacks_page = signal == SIGBUS && info->si_code == BUS_ADRERR;
  if (lacks_page && g_index_open.load() && make_room()) {
    errno = before;
    return;
  }
  // A watchdog's SIGABRT says nothing of the index.
  const bool is_sent = info->si_code <= 0 && info->si_pid != ::getpid();
  if (g_index_open.load() && !is_sent) {
    const int fd = ::open(g_suspect_path.data(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0) ::close(fd);
    write_text(lacks_page
                   ? "bygone: stopped by a fault: the disk of the index is full, or the index cut "
                     "off, and rebuilt at the next start; hint: BYGONE_INDEX_DIR names a folder on "
                     "another disk\n"
                   : "bygone: stopped by a fault, perhaps in a damaged index; it is rebuilt at the "
                     "next start\n");
  }
  // Whoever watched before us (a sanitizer, the system) has the last word.
  for (std::size_t i = 0; i < kCrashes.size(); ++i) {
    if (kCrashes[i] == signal) ::sigaction(signal, &g_before[i], nullptr);
  }
  ::raise(signal);
}

Result<void> check_schema(lmdb::Env& env) {
  {
    const lmdb::ReadTxn txn = TRY(env.read());
    const auto found = TRY(txn.get(lmdb::Table::meta, as_bytes(kSchemaKey)));
    if (found) {
      Reader r(*found);
      if (TRY(r.u32()) == kSchema) return {};
      return Error{Code::corrupt, 0, "index: written by another version of bygone"};
    }
  }
  Writer schema;
  schema.u32(kSchema);
  lmdb::WriteTxn txn = TRY(env.write());
  TRY(txn.put(lmdb::Table::meta, as_bytes(kSchemaKey), schema.buffer()));
  return txn.commit();
}

Result<std::unique_ptr<lmdb::Env>> open_env(const std::string& folder) {
  auto env = TRY(lmdb::Env::open(folder, lmdb::Access::read_write));
  TRY(check_schema(*env));
  return env;
}

}  // namespace

void watch_for_index_crashes() {
  struct sigaction action {};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_ONSTACK | SA_SIGINFO;
  for (std::size_t i = 0; i < kCrashes.size(); ++i) {
    ::sigaction(kCrashes[i], &action, &g_before[i]);
  }
}

Result<void> Index::open_in(const std::string& folder) {
  folder_ = folder;
  auto made = files_->make_directory(folder);
  if (!made && made.error().code != Code::exists) return made;
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return os_error(errno, "index: " + folder);
  watch_for_crashes();
  const auto data = files_->info(folder + "/data.mdb");
  fresh_ = !data || data->size == 0;
  {
    const Fd gate = TRY(lock_folder(*files_, folder, Lock::shared));
    if (TRY(try_open()).empty()) return {};
  }
  // Who comes to the same end at the same time must not replace what another one has just made: its
  // data.mdb would stand beside another lock.mdb than the one that the other one locks by.
  const Fd gate = TRY(lock_folder(*files_, folder, Lock::exclusive));
  fresh_ = true;
  const std::string fault = TRY(try_open());
  if (fault.empty()) return {};
  log::warning(fault + ": rebuilding it from the packs");
  return replace();
}

// Why it has to be replaced; empty when it is open.
Result<std::string> Index::try_open() {
  if (files_->info(folder_ + kSuspect)) return "index " + folder_ + " is suspect after a crash";
  for (const char* name : kLmdbFiles) {
    const auto info = files_->info(folder_ + name);
    if (info && !info->is_regular) return "index " + folder_ + name + " is a link or no plain file";
  }
  auto env = open_env(folder_);
  if (env) {
    env_ = std::move(env).value();
    return std::string();
  }
  if (env.error().code != Code::corrupt) return std::move(env).error();
  return env.error().message;
}

// Suspect until it is done: with one of the two files gone the other one must go, too.
Result<void> Index::replace() {
  mark_suspect();
  for (const char* name : kLmdbFiles) {
    auto removed = files_->remove(folder_ + name);
    if (!removed && removed.error().code != Code::not_found) return removed;
  }
  env_ = TRY(open_env(folder_));
  ignore(files_->remove(folder_ + kSuspect), "it is rebuilt once more, no harm");
  return {};
}

Result<std::unique_ptr<Index>> Index::open(Files& files, const std::string& folder,
                                           const std::string& fallback,
                                           const std::string& reserve) {
  std::unique_ptr<Index> index(new Index());
  index->files_ = &files;
  index->reserve_ = reserve;
  if (auto opened = index->open_in(folder); !opened) {
    log::info(opened.error().message + ": using a private index in " + fallback);
    for (std::size_t slash = fallback.find('/', 1); slash != std::string::npos;
         slash = fallback.find('/', slash + 1)) {
      ignore(files.make_directory(fallback.substr(0, slash)), "it may exist; the last one counts");
    }
    index->reserve_.clear();  // of another disk
    TRY(index->open_in(fallback));
  }
  return index;
}

// Before LMDB reads anything: a page that is damaged may end us here already, and would at each
// start. Of several in one process, as in tests, only the first is watched.
void Index::watch_for_crashes() {
  if (watched_) g_index_open.store(false);
  if (g_index_open.load()) return;
  const auto keep = [](const std::string& path, HandlerPath& as) {
    const std::size_t size = path.size() < as.size() ? path.size() : 0;
    std::copy_n(path.begin(), size, as.begin());
    as[size] = '\0';
    return size > 0;
  };
  if (!keep(folder_ + kSuspect, g_suspect_path) || !keep(folder_, g_folder_path)) return;
  keep(reserve_, g_reserve_path);
  watched_ = true;
  g_index_open.store(true);
}

void Index::mark_suspect() {
  ignore(open_plain(*files_, folder_ + kSuspect, O_WRONLY | O_CREAT, 0600),
         "the index is a cache: a bad one costs time only");
}

Index::~Index() {
  if (watched_) g_index_open.store(false);
}

}  // namespace bygone::store
