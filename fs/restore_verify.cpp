// SPDX-License-Identifier: Apache-2.0
//
// The second walk of a restore: reads the files back from the disk and compares them.
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "fs/restore_content.h"
#include "fs/restore_cursor.h"
#include "fs/restore_job.h"
#include "fs/restore_workers.h"

namespace bygone::fs {
namespace {

using store::Entry;
using store::FileType;

constexpr std::size_t kRunFiles = 64;
constexpr std::uint64_t kRunBytes = 4u << 20;

struct Level {
  FolderPtr folder;
  DirectoryCursor cursor;
};

class Verifier {
 public:
  explicit Verifier(Job& job)
      : job_(job), workers_(thread_count(job.options), [&] {
          auto content = std::make_shared<Content>(job_.trees, job_.chunks, job_.cancel,
                                                   job_.progress.bytes_done);
          return [this, content](std::vector<Item>& run) {
            LastFolder folders;
            for (const Item& item : run) check(*content, folders, item);
          };
        }) {}

  Result<void> verify(const std::vector<RestoreRoot>& roots, FolderPtr target);

 private:
  void check(Content& content, LastFolder& folders, const Item& item);
  Result<void> compare(Content& content, LastFolder& folders, const Item& item);
  void step();
  void enter(const Entry& entry);
  void file(Entry entry);
  void flush() {
    if (!run_.empty()) workers_.push(std::exchange(run_, {}));
    run_bytes_ = 0;
  }

  Job& job_;
  Workers<std::vector<Item>> workers_;
  std::vector<Level> levels_;
  std::vector<Item> run_;
  std::uint64_t run_bytes_ = 0;
  std::uint64_t number_ = 0;
};

Result<void> Verifier::compare(Content& content, LastFolder& folders, const Item& item) {
  const FdPtr folder = TRY(folders.open(item.folder));
  const Fd fd(openat(folder->get(), item.entry.name.c_str(),
                     O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.is_open()) return os_error(errno, "reading back");
  // Synced before: what is dropped here is read from the disk again.
  posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
  return content.compare(fd.get(), item.entry);
}

void Verifier::check(Content& content, LastFolder& folders, const Item& item) {
  if (job_.cancel) return;
  const Result<void> equal = compare(content, folders, item);
  const std::uint64_t counted = content.take_count();
  if (item.entry.size > counted) job_.progress.bytes_done += item.entry.size - counted;
  if (equal.ok()) return job_.verified_one();
  if (equal.error().code == Code::cancelled) return;
  job_.failed(item.folder->path(item.entry.name), equal.error());
}

void Verifier::file(Entry entry) {
  if (entry.type != FileType::regular) return;
  if (job_.skips_verify(number_)) {
    job_.progress.bytes_done += entry.size;
    return;
  }
  if (run_.size() >= kRunFiles || run_bytes_ >= kRunBytes) flush();
  run_bytes_ += entry.size;
  run_.push_back({levels_.back().folder, std::move(entry), number_});
}

void Verifier::enter(const Entry& entry) {
  Level& above = levels_.back();
  if (job_.skips_verify(number_)) {
    job_.progress.bytes_done += entry.subtree_bytes;
    return;
  }
  const Result<FdPtr> parent = above.folder->open();
  Result<Fd> fd =
      parent.ok() ? open_folder_at((*parent)->get(), entry.name) : Result<Fd>(parent.error());
  if (!fd.ok()) {
    job_.progress.bytes_done += entry.subtree_bytes;
    return job_.failed(above.folder->path(entry.name), fd.error());
  }
  auto folder = std::make_shared<Folder>(above.folder, entry, entry.name, std::move(*fd),
                                         Folder::Origin::existing);
  above.folder->rest();
  if (levels_.size() > 64) above.cursor.rest();
  levels_.push_back({std::move(folder), DirectoryCursor(job_.trees, entry.node)});
}

void Verifier::step() {
  Result<std::optional<Entry>> next = levels_.back().cursor.next();
  // A listing that cannot be read was reported when it was restored.
  if (!next.ok() || !*next) {
    levels_.back().folder->leave();
    levels_.pop_back();
    return;
  }
  ++number_;
  if ((*next)->is_directory()) return enter(**next);
  file(std::move(**next));
}

Result<void> Verifier::verify(const std::vector<RestoreRoot>& roots, FolderPtr target) {
  levels_.push_back({std::move(target), is_target_itself(roots)
                                            ? DirectoryCursor(job_.trees, roots[0].entry.node)
                                            : DirectoryCursor(job_.trees, named_roots(roots))});
  while (!levels_.empty() && !job_.cancel) step();
  flush();
  workers_.finish();
  if (job_.cancel) return Error{Code::cancelled, 0, "interrupted; not all files were verified"};
  return {};
}

}  // namespace

Result<void> verify_restored(Job& job, const std::vector<RestoreRoot>& roots,
                             const std::string& target) {
  Fd fd(::open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.is_open()) return os_error(errno, "opening " + printable(target));
  if (syncfs(fd.get()) != 0) return os_error(errno, "syncing " + printable(target));
  Verifier verifier(job);
  return verifier.verify(roots, std::make_shared<Folder>(std::move(fd), Folder::Origin::existing));
}

}  // namespace bygone::fs
