// SPDX-License-Identifier: Apache-2.0
#include "ingest/volume_pass.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "ingest/btrfs.h"
#include "ingest/host_view.h"
#include "ingest/kept_check.h"
#include "ingest/snapshot_journal.h"
#include "ingest/subvolume_snapshots.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Entry;
using store::FileType;

constexpr unsigned kScanners = 2;
constexpr unsigned kReaders = 4;

bool is_same(const Entry& a, const Entry& b) { return a.inode == b.inode && same_times(a, b); }

// Whether an item of a walk beside `hot` says that something there is as it was. What is racy is
// not kept, but has the same times. What is not entered is another file system's, or of no
// interest.
bool is_as_before(const Item& item) {
  if (item.kind == Item::Kind::leave) return true;
  if (item.kind == Item::Kind::entry && item.leaf >= 0) return true;
  if (!item.parent || (item.parent->flags & store::kChangedWhileRead) != 0) return false;
  const int not_entered = item.entry.flags & item.parent->flags & store::kNotCrossed;
  return not_entered != 0 || is_same(item.entry, *item.parent);
}

bool is_lost_subvolume(const Item& item) {
  return item.kind == Item::Kind::enter && item.entry.inode == btrfs::kLostSubvolumeInode;
}

}  // namespace

Result<std::unique_ptr<VolumePass>> VolumePass::open(PassContext& context, const std::string& path,
                                                     PassVolume volume) {
  Fd fd = TRY(open_root(path));
  Listed root = TRY(look_at(fd));
  if (!root.entry.is_directory() && root.entry.type != FileType::regular) {
    return Error{Code::unsupported, 0, printable(path) + " is neither a folder nor a file"};
  }
  const auto found = context.off_limits.find({root.device, root.entry.inode});
  if (found != context.off_limits.end()) {
    return Error{Code::invalid, 0, printable(path) + " is " + found->second};
  }
  return std::unique_ptr<VolumePass>(
      new VolumePass(context, path, std::move(volume), std::move(fd), std::move(root)));
}

Result<std::unique_ptr<VolumePass>> VolumePass::of_copy(VolumeCopy copy, Nanoseconds time) const {
  Listed root = TRY(look_at(copy.root));
  PassVolume volume = volume_;
  volume.as_of = time;
  std::unique_ptr<VolumePass> pass(
      new VolumePass(context_, path_, std::move(volume), std::move(copy.root), std::move(root)));
  pass->folder_ = std::move(copy.folder);
  return pass;
}

Clock VolumePass::clock() const {
  if (!volume_.as_of) return context_.clock;
  return [time = *volume_.as_of] { return time; };
}

std::optional<std::string> VolumePass::why_left_out(const Listed& listed) const {
  const auto found = context_.off_limits.find({listed.device, listed.entry.inode});
  if (found != context_.off_limits.end()) {
    return found->second.empty() ? "" : found->second + ", left out";
  }
  const Entry& entry = listed.entry;
  if (entry.name != kSnapshotFolder || entry.uid != ::geteuid() || entry.mode != 0700) {
    return std::nullopt;
  }
  return "bygone's own snapshots, left out";
}

FileReaderOptions VolumePass::reader_options() const {
  return {.tree = volume_.tree,
          .volume = volume_.number,
          .volume_tag = volume_.tag,
          .clock = clock(),
          .fingerprints = context_.fingerprints,
          .spill = context_.spill,
          .cancel = &context_.cancel,
          .limiter = context_.limiter};
}

// A bind of a file is opened anew through the folder that holds it: somebody who replaces it by a
// link must not lead us elsewhere.
Result<Item> VolumePass::single_file(const std::optional<Entry>& parent) {
  Item item;
  item.kind = Item::Kind::file;
  item.entry = root_.entry;
  item.parent = parent;
  item.leaf = 0;
  item.work = std::make_shared<FileWork>();
  const std::size_t slash = path_.find_last_of('/');
  item.work->name = path_.substr(slash + 1);
  item.work->folder =
      folder_ ? folder_ : std::make_shared<const Fd>(TRY(open_root(parent_folder(path_))));
  item.work->entry = root_.entry;
  item.work->parent = parent;
  item.work->large = root_.entry.size >= store::kSmallFile;
  return item;
}

Result<void> VolumePass::walk(const std::optional<Entry>& parent, WalkOptions options,
                              const std::function<bool(Item&&)>& emit, Shown shown) {
  options.clock = clock();
  options.tree = volume_.tree;
  notes_ = WalkNotes();
  if (!root_.entry.is_directory()) {
    const bool lost = parent && options.is_stored && !options.is_stored(*parent);
    Item item = TRY(single_file(lost ? std::nullopt : parent));
    if (options.on_file) options.on_file(item.work);
    if (shown == Shown::yes) {
      context_.files_seen += 1;
      context_.bytes_seen += root_.entry.size;
    }
    if (!emit(std::move(item))) return Error{Code::cancelled, 0, "cancelled"};
    return {};
  }
  const auto reason = [this](const Listed& listed) { return why_left_out(listed); };
  Scanner scanner(
      volume_.excludes, [&](const Listed& listed) { return reason(listed).has_value(); }, kScanners,
      options.collapse ? nullptr : context_.limiter);  // collapse: writers may wait
  // The volume may be listed more than once: each pass begins with a fresh descriptor.
  Fd fd = TRY(open_folder(fd_, "."));
  Listed self = TRY(look_at(fd));
  Walk walk(scanner, context_.trees, options, reason, notes_);
  const std::uint64_t files = context_.files_seen;
  const std::uint64_t bytes = context_.bytes_seen;
  const auto show = [&] {
    if (shown == Shown::no) return;
    context_.files_seen = files + scanner.files_seen();
    context_.bytes_seen = bytes + scanner.bytes_seen();
  };
  auto walked = walk.run(scanner.root(std::move(fd), std::move(self)), parent, [&](Item&& item) {
    show();
    if (volume_.as_of && is_lost_subvolume(item)) lost_subvolume_ = item.entry.name;
    return emit(std::move(item));
  });
  show();
  return walked;
}

Result<Entry> VolumePass::read(const std::optional<Entry>& parent) {
  FileReader reader(context_.session, context_.trees, context_.jobs, reader_options());
  Pipeline pipeline(context_.session, context_.writer, context_.trees, reader, context_.jobs,
                    context_.counts,
                    {.mode = ReaderPool::Mode::read,
                     .volume_tag = volume_.tag,
                     .readers = kReaders,
                     .liveness = context_.liveness});
  KeptCheck kept(context_.session, context_.trees);
  WalkOptions options{.rescan = context_.rescan,
                      .collapse = false,
                      .tree = {},
                      .clock = {},
                      .is_stored = {},
                      .on_file = {}};
  if (context_.may_lack_chunks) {
    options.is_stored = [&kept](const Entry& entry) { return kept.is_stored(entry); };
  }
  auto walked = walk(
      parent, options,
      [&](Item&& item) { return pipeline.push(std::move(item)) && !context_.cancel.load(); },
      Shown::yes);
  if (!walked && walked.error().code != Code::cancelled) {
    pipeline.abandon();
    return std::move(walked).error();
  }
  if (!walked) pipeline.abandon();
  auto root = pipeline.finish();
  context_.bytes_read += reader.bytes_read();
  notes_.unreadable.insert(notes_.unreadable.end(), pipeline.unreadable().begin(),
                           pipeline.unreadable().end());
  if (context_.cancel.load()) return Error{Code::cancelled, 0, "cancelled"};
  return root;
}

Result<void> VolumePass::sync() {
  // Cleans dirty pages, so that a store through mmap from here on shows in the times.
  if (::syncfs(fd_.get()) != 0 && errno != EROFS) return os_error(errno, "syncing " + path_);
  return {};
}

// Reads what differs from `hot` in its times, and returns when all of it was read.
Result<void> VolumePass::walk_changed(const Entry& hot, ReaderPool::Mode mode,
                                      const std::function<void(Item&&)>& take) {
  FileReader reader(context_.session, context_.trees, context_.jobs, reader_options());
  Result<void> walked;
  {
    ReaderPool pool(reader, mode, kReaders);
    walked = walk(
        hot,
        {.rescan = false,
         .collapse = true,
         .tree = {},
         .clock = {},
         .is_stored = {},
         .on_file = [&](const std::shared_ptr<FileWork>& work) { pool.push(work); }},
        [&](Item&& item) {
          take(std::move(item));
          return !context_.cancel.load();
        },
        Shown::no);
    if (!walked) pool.abandon();
  }  // the pool has read everything once it is gone
  context_.bytes_read += reader.bytes_read();
  return walked;
}

Result<void> VolumePass::look_ahead(const Entry& hot) {
  const WalkNotes notes = notes_;
  auto walked = walk_changed(hot, ReaderPool::Mode::look_ahead, [](Item&&) {});
  notes_ = notes;
  return walked;
}

Result<void> VolumePass::capture(const Entry& hot) {
  captured_.clear();
  WalkNotes notes = notes_;
  auto walked = walk_changed(hot, ReaderPool::Mode::capture,
                             [&](Item&& item) { captured_.push_back(std::move(item)); });
  captured_notes_ = std::exchange(notes_, std::move(notes));
  return walked;
}

Result<Entry> VolumePass::store_captured() {
  FileReader reader(context_.session, context_.trees, context_.jobs, reader_options());
  // The capture has marked them as read; what comes now is the second half.
  for (const Item& item : captured_) {
    if (item.work) item.work->read_done.store(false);
  }
  notes_ = std::move(captured_notes_);
  return store_items(context_, volume_, reader, ReaderPool::Mode::resolve,
                     std::exchange(captured_, {}), notes_.unreadable);
}

Result<bool> VolumePass::is_unchanged(const Entry& hot) {
  if (!root_.entry.is_directory()) return is_same(TRY(look_at(fd_)).entry, hot);
  bool unchanged = true;
  const WalkNotes notes = notes_;
  auto walked = walk(
      hot, {.rescan = false, .collapse = false, .clock = {}, .is_stored = {}, .on_file = {}},
      [&](Item&& item) {
        unchanged = unchanged && is_as_before(item);
        if (item.work) item.work->folder.reset();  // nobody reads it
        return unchanged && !context_.cancel.load();
      },
      Shown::no);
  notes_ = notes;
  if (!walked && unchanged) return std::move(walked).error();
  return unchanged;
}

Result<Entry> VolumePass::amend(const Entry& hot, const TreeEdit& edit) {
  TreeEditor editor(context_.trees, fd_, edit, context_.clock());
  std::vector<Item> items = TRY(editor.items(hot));
  FileReader reader(context_.session, context_.trees, context_.jobs, reader_options());
  std::vector<std::pair<std::string, std::string>> unreadable;
  Entry root = TRY(
      store_items(context_, volume_, reader, ReaderPool::Mode::read, std::move(items), unreadable));
  context_.bytes_read += reader.bytes_read();
  TRY(editor.check());
  notes_.unreadable.insert(notes_.unreadable.end(), unreadable.begin(), unreadable.end());
  return root;
}

}  // namespace bygone::ingest
