// SPDX-License-Identifier: Apache-2.0
#include "fs/restore.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <optional>
#include <tuple>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/restore_cursor.h"
#include "fs/restore_job.h"
#include "fs/restore_node.h"
#include "fs/restore_workers.h"
#include "fs/restore_writer.h"

namespace bygone::fs {
namespace {

using store::Entry;
using store::FileType;

// Files go to the threads in runs of neighbours: a run ends where no chunk is shared, so that
// each chunk is decoded by one thread, once.
constexpr std::size_t kRunFiles = 64;
constexpr std::uint64_t kRunBytes = 512u << 10;
constexpr std::size_t kRunFilesAtMost = 1024;

// What a thread is given: a run of files, or a segment of a big one.
struct Task {
  std::vector<Item> run;
  std::shared_ptr<BigFile> file;
  std::uint64_t begin = 0, end = 0;
};

// One folder on the way from the target to where the walk is.
struct Level {
  FolderPtr folder;
  DirectoryCursor cursor;
  std::vector<std::string> standing;  // names to compare with, for delete_extra
  std::size_t next_standing = 0;
};

// What names of one hard link have in common: the volume, the inode, and, should the number have
// gone to another file during the walk, ctime and size.
using LinkKey =
    std::tuple<std::uint64_t, std::uint64_t, std::int64_t, std::uint32_t, std::uint64_t>;

// The file that the other names of a hard link are made to.
struct FirstLink {
  FolderPtr folder;
  std::string name;
  std::uint32_t names_left = 0;
};

bool shares_chunk(const Entry& before, const Entry& after) {
  if (before.content != Entry::Content::extents || after.content != Entry::Content::extents) {
    return false;
  }
  return !before.extents.empty() && !after.extents.empty() &&
         before.extents.back().kind == store::Extent::Kind::data &&
         before.extents.back().chunk == after.extents.front().chunk;
}

class Restorer {
 public:
  explicit Restorer(Job& job)
      : job_(job), writer_(job), workers_(job.options.dry_run ? 0 : thread_count(job.options), [&] {
          return
              [this, writer = std::make_shared<Writer>(job_)](Task& task) { run(*writer, task); };
        }) {}

  Result<void> restore(const std::vector<RestoreRoot>& roots, const FolderPtr& target);

 private:
  void run(Writer& writer, Task& task);
  Result<void> step();
  Result<void> enter(const Entry& entry);
  Result<Fd> make_folder(const Entry& entry, Decision decision, int parent);
  void leave();
  void file(Entry entry);
  void big_file(const Item& item);
  void hard_link(const Item& item);
  void flush();
  Result<void> watch_extra(Level& level);
  void remove_extra(Level& level, const std::string* before);
  void skip_subtree(const Entry& entry, const Error* error);

  Job& job_;
  Writer writer_;  // of the walking thread
  Workers<Task> workers_;
  std::vector<Level> levels_;
  std::vector<Item> run_;
  std::uint64_t run_bytes_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t volume_ = 0;  // inode numbers are unique in one
  bool roots_are_volumes_ = false;
  std::map<LinkKey, FirstLink> links_;
};

void Restorer::run(Writer& writer, Task& task) {
  if (task.file != nullptr) return writer.fill(*task.file, task.begin, task.end);
  for (const Item& item : task.run) {
    if (job_.cancel) return;
    writer.restore(item);
  }
}

void Restorer::flush() {
  if (run_.empty()) return;
  Task task;
  task.run = std::exchange(run_, {});
  run_bytes_ = 0;
  workers_.push(std::move(task));
}

void Restorer::big_file(const Item& item) {
  const std::shared_ptr<BigFile> file = writer_.begin(item);
  if (file == nullptr) return;
  for (std::uint64_t at = 0; at < item.entry.size; at += kSegment) {
    Task task;
    task.file = file;
    task.begin = at;
    task.end = std::min(at + kSegment, item.entry.size);
    workers_.push(std::move(task));
  }
}

// The first name is restored here and now, so that the others find a whole file to link to.
void Restorer::hard_link(const Item& item) {
  const Entry& entry = item.entry;
  const LinkKey key{volume_, entry.inode, entry.ctime.seconds, entry.ctime.nanoseconds, entry.size};
  const auto found = links_.find(key);
  if (found == links_.end() || !writer_.link(item, found->second.folder, found->second.name)) {
    if (writer_.restore(item) == Outcome::restored) {
      links_[key] = {item.folder, item.entry.name, item.entry.links - 1};
    }
    return;
  }
  if (--found->second.names_left == 0) links_.erase(found);
}

void Restorer::file(Entry entry) {
  Item item{levels_.back().folder, std::move(entry), number_};
  item.folder->expect();
  if (job_.options.dry_run) {
    writer_.restore(item);
  } else if (item.entry.links > 1) {
    hard_link(item);
  } else if (item.entry.type == FileType::regular && item.entry.size >= 2 * kSegment) {
    big_file(item);
  } else {
    const bool full = run_.size() >= kRunFiles || run_bytes_ >= kRunBytes;
    if (run_.size() >= kRunFilesAtMost || (full && !shares_chunk(run_.back().entry, item.entry))) {
      flush();
    }
    run_bytes_ += item.entry.size;
    run_.push_back(std::move(item));
  }
}

// Lists what stands in a folder that was there before, to find what the snapshot lacks. A folder
// whose listing the snapshot does not know is left alone.
Result<void> Restorer::watch_extra(Level& level) {
  if (!job_.options.delete_extra || level.folder->origin() == Folder::Origin::created) return {};
  if (level.folder->entry().flags & (store::kUnreadable | store::kNotCrossed)) return {};
  level.standing = TRY(list_folder(TRY(level.folder->open())->get()));
  return {};
}

// Removes what stands before the name `before` (or to the end) and is not in the snapshot.
void Restorer::remove_extra(Level& level, const std::string* before) {
  while (level.next_standing < level.standing.size()) {
    const std::string& name = level.standing[level.next_standing];
    if (before != nullptr && name >= *before) {
      if (name == *before) ++level.next_standing;
      return;
    }
    const std::string path = level.folder->path(name);
    Result<void> removed;
    if (!job_.options.dry_run) {
      Result<FdPtr> folder = level.folder->open();
      removed = folder.ok() ? remove_tree((*folder)->get(), name) : Result<void>(folder.error());
    }
    if (removed.ok()) job_.acted(RestoreAction::removed, path);
    if (!removed.ok()) job_.failed(path, removed.error());
    ++level.next_standing;
  }
}

// Counts what is below a folder that was not entered; with an error, it is reported.
void Restorer::skip_subtree(const Entry& entry, const Error* error) {
  const std::string path = levels_.back().folder->path(entry.name);
  job_.skip_verify(number_);
  job_.progress.files_done += entry.subtree_files;
  job_.progress.bytes_done += entry.subtree_bytes;
  if (error != nullptr) return job_.failed(path, *error);
  job_.acted(RestoreAction::kept, path);
}

// The descriptor of the folder to restore into; none in a dry run of one that does not exist.
Result<Fd> Restorer::make_folder(const Entry& entry, Decision decision, int parent) {
  if (decision == Decision::refresh) return open_folder_at(parent, entry.name);
  if (job_.options.dry_run) return Fd();
  if (decision == Decision::replace && unlinkat(parent, entry.name.c_str(), 0) != 0) {
    return os_error(errno, "removing what stands in the way of a folder");
  }
  if (mkdirat(parent, entry.name.c_str(), 0700) != 0) return os_error(errno, "creating the folder");
  Fd fd = TRY(open_folder_at(parent, entry.name));
  if (levels_.back().folder->origin() == Folder::Origin::existing) strip_inherited_acls(fd.get());
  return fd;
}

Result<void> Restorer::enter(const Entry& entry) {
  Level& above = levels_.back();
  const FdPtr parent = TRY(above.folder->open());
  std::optional<struct stat> standing;
  if (above.folder->origin() == Folder::Origin::existing) {
    standing = TRY(look(parent->get(), entry.name));
  }
  const Decision decision = decide_folder(standing, entry, job_.options.overwrite);
  if (decision == Decision::keep) {
    skip_subtree(entry, nullptr);
    return {};
  }
  Fd fd = TRY(make_folder(entry, decision, parent->get()));
  const auto origin =
      decision == Decision::refresh ? Folder::Origin::existing : Folder::Origin::created;
  auto folder = std::make_shared<Folder>(above.folder, entry, entry.name, std::move(fd), origin);
  if (decision == Decision::create) job_.acted(RestoreAction::created, folder->path());
  if (decision == Decision::replace) job_.acted(RestoreAction::replaced, folder->path());
  if (entry.flags & store::kUnreadable) {
    job_.failed(folder->path(),
                {Code::not_found, 0, "its content could not be listed when it was backed up"});
  }
  ++job_.summary.folders;
  above.folder->rest();
  if (levels_.size() > 64) above.cursor.rest();
  levels_.push_back({std::move(folder), DirectoryCursor(job_.trees, entry.node), {}, 0});
  return watch_extra(levels_.back());
}

void Restorer::leave() {
  const FolderPtr folder = levels_.back().folder;
  levels_.pop_back();
  finish_folder(job_, folder);
  folder->leave();
}

// One entry of the deepest folder.
Result<void> Restorer::step() {
  Level& level = levels_.back();
  Result<std::optional<Entry>> next = level.cursor.next();
  if (!next.ok()) {
    // The rest of this folder cannot be read; what stands in the target stays.
    job_.failed(level.folder->path(), next.error());
    leave();
    return {};
  }
  if (!*next) {
    remove_extra(level, nullptr);
    leave();
    return {};
  }
  Entry entry = std::move(**next);
  remove_extra(level, &entry.name);
  ++number_;
  if (roots_are_volumes_ && levels_.size() == 1) ++volume_;
  if (!entry.is_directory()) {
    file(std::move(entry));
    return {};
  }
  if (const auto entered = enter(entry); !entered.ok()) skip_subtree(entry, &entered.error());
  return {};
}

Result<void> Restorer::restore(const std::vector<RestoreRoot>& roots, const FolderPtr& target) {
  roots_are_volumes_ = !is_target_itself(roots);
  if (roots_are_volumes_) {
    levels_.push_back({target, DirectoryCursor(job_.trees, named_roots(roots)), {}, 0});
  } else {
    target->adopt(roots.front().entry);
    ++job_.summary.folders;
    levels_.push_back({target, DirectoryCursor(job_.trees, roots.front().entry.node), {}, 0});
  }
  TRY(watch_extra(levels_.back()));
  while (!levels_.empty() && !job_.cancel) TRY(step());
  flush();
  workers_.finish();
  if (job_.cancel) return Error{Code::cancelled, 0, "interrupted; the target is partly restored"};
  return {};
}

bool lies_within(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const auto [end, at] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  static_cast<void>(at);
  return end == folder.end();
}

Result<void> check_place(const std::string& target, const RestoreOptions& options) {
  if (options.repository_path.empty()) return {};
  std::error_code failure;
  const auto where = std::filesystem::weakly_canonical(target, failure);
  if (failure) return os_error(failure.value(), printable(target));
  const auto repository = std::filesystem::weakly_canonical(options.repository_path, failure);
  if (failure) return os_error(failure.value(), printable(options.repository_path));
  if (lies_within(where, repository)) {
    return Error{Code::invalid, 0,
                 fmt::format("{} lies inside the repository {}; hint: restore to another folder",
                             printable(target), printable(options.repository_path))};
  }
  if (options.delete_extra && lies_within(repository, where)) {
    return Error{Code::invalid, 0,
                 fmt::format("{} holds the repository {}, which --delete would remove; hint: "
                             "restore to another folder",
                             printable(target), printable(options.repository_path))};
  }
  return {};
}

// The folder `path`, with those above it.
Result<FolderPtr> open_target(const std::string& path, const RestoreOptions& options,
                              bool becomes_root) {
  Folder::Origin origin = Folder::Origin::existing;
  struct stat standing {};
  if (stat(path.c_str(), &standing) != 0) {
    if (errno != ENOENT) return os_error(errno, printable(path));
    origin = Folder::Origin::created;
    if (options.dry_run) return std::make_shared<Folder>(Fd(), origin);
    std::error_code failure;
    const std::filesystem::path above = std::filesystem::path(path).parent_path();
    if (!above.empty()) std::filesystem::create_directories(above, failure);
    if (failure) return os_error(failure.value(), "creating " + printable(above.native()));
    if (mkdir(path.c_str(), becomes_root ? 0700 : 0777) != 0) {
      return os_error(errno, "creating " + printable(path));
    }
  }
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.is_open()) {
    Error error = os_error(errno, "opening the target " + printable(path));
    if (error.errnum == ENOTDIR) error.message += "; hint: the target is a folder, name that one";
    return error;
  }
  // A folder of our own may have inherited ACLs, and would hand them on.
  if (origin == Folder::Origin::created) strip_inherited_acls(fd.get());
  return std::make_shared<Folder>(std::move(fd), origin);
}

void count_totals(const std::vector<RestoreRoot>& roots, RestoreProgress& progress, bool twice) {
  std::uint64_t files = 0, bytes = 0;
  for (const RestoreRoot& root : roots) {
    const bool folder = root.entry.is_directory();
    files += folder ? root.entry.subtree_files : 1;
    bytes += folder                                 ? root.entry.subtree_bytes
             : root.entry.type == FileType::regular ? root.entry.size
                                                    : 0;
  }
  progress.files_total = files;
  progress.bytes_total = twice ? 2 * bytes : bytes;
}

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

Result<RestoreSummary> restore(store::TreeReader& trees, store::ChunkSource& chunks,
                               const std::vector<RestoreRoot>& roots, const std::string& target,
                               const RestoreOptions& options, const RestoreEvents& events,
                               RestoreProgress& progress, const std::atomic<bool>& cancel) {
  const std::string place = without_slashes(target);
  TRY(check_place(place, options));
  Job job(trees, chunks, options, events, progress, cancel);
  const bool verify = options.verify && !options.dry_run;
  count_totals(roots, progress, verify);
  {
    Restorer restorer(job);
    TRY(restorer.restore(roots, TRY(open_target(place, options, is_target_itself(roots)))));
  }
  if (verify) {
    progress.verifying = true;
    TRY(verify_restored(job, roots, place));
  }
  job.summary.bytes = job.bytes;
  job.summary.limited = job.limits.count();
  return job.summary;
}

}  // namespace bygone::fs
