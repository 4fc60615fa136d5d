// SPDX-License-Identifier: Apache-2.0
#include "ingest/walk.h"

#include <cerrno>
#include <cstring>

#include "ingest/dataless.h"
#include "ingest/layer.h"
#include "store/base/log.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Entry;
using store::FileType;

bool vanished(const Error& error) {
  return error.errnum == ENOENT || error.errnum == ENOTDIR || error.errnum == ELOOP ||
         error.errnum == ESTALE;
}

bool same_metadata(const Entry& a, const Entry& b) {
  return a.type == b.type && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid &&
         a.mtime == b.mtime && a.ctime == b.ctime && a.size == b.size && a.inode == b.inode &&
         a.links == b.links && a.device == b.device && a.target == b.target;
}

}  // namespace

struct Walk::Frame : WalkFrame {
  std::shared_ptr<ScannedFolder> folder;
  std::size_t next = 0;  // of the folder's entries
  Nanoseconds listed_at = 0;
};

Walk::Walk(Scanner& scanner, store::TreeReader& trees, WalkOptions options,
           std::function<std::optional<std::string>(const Listed&)> off_limits, WalkNotes& notes)
    : scanner_(scanner),
      options_(std::move(options)),
      output_(trees, options_.collapse, options_.is_stored),
      off_limits_(std::move(off_limits)),
      notes_(notes) {}

Walk::~Walk() = default;

void Walk::cannot_read(const std::string& path, const Error& error) {
  notes_.unreadable.emplace_back(path,
                                 error.errnum != 0 ? std::strerror(error.errnum) : error.message);
}

bool Walk::is_unchanged(const Entry& now, const Entry& before) const {
  return !options_.rescan && before.flags == 0 && same_metadata(now, before);
}

void Walk::note_mount(const std::string& path, std::uint64_t device) {
  const std::string what = dataless(device);
  if (what.empty()) {
    notes_.mounted.push_back(path);
  } else {
    notes_.skipped.push_back(path + ": a file system that is " + what);
  }
}

// A folder that cannot be walked becomes an entry like others, or is gone.
Result<void> Walk::enter(const std::shared_ptr<ScannedFolder>& folder,
                         const std::optional<Entry>& parent, int leaf) {
  auto frame = std::make_unique<Frame>();
  frame->listed_at = options_.clock();
  scanner_.finish(folder);
  if (folder->error) {
    const Error& error = *folder->error;
    if (frames_.empty()) return error;
    scanner_.release(*folder);
    if (vanished(error)) return {};
    Item item;
    item.entry = frames_.back()->folder->entries[frames_.back()->next - 1].listed.entry;
    const std::string path = join_path(frames_.back()->folder->path, item.entry.name);
    if (error.errnum == EXDEV) {
      item.entry.flags = store::kNotCrossed;
      note_mount(path, frames_.back()->folder->entries[frames_.back()->next - 1].listed.device);
    } else {
      item.entry.flags = store::kUnreadable;
      cannot_read(path, error);
    }
    item.kind = Item::Kind::enter;
    item.parent = parent;
    output_.put(Item(item));
    item.kind = Item::Kind::leave;
    output_.put(std::move(item));
    ++frames_.back()->taken;
    return {};
  }
  const Folder fd = TRY(folder->open());  // nobody has let it rest yet
  frame->folder = folder;
  frame->entry = folder->self.entry;
  frame->parent = parent;
  frame->leaf = leaf;
  for (const auto& [name, errnum] : folder->failed) {
    cannot_read(join_path(folder->path, name), os_error(errnum, "looking"));
  }
  const bool same = parent && is_unchanged(frame->entry, *parent);
  if (same && (!parent->xattr_node || output_.is_stored(*parent))) {
    frame->entry.xattrs = parent->xattrs;
    frame->entry.xattr_node = parent->xattr_node;
  } else {
    auto xattrs = read_xattrs(*fd, options_.tree);
    if (xattrs) {
      frame->entry.xattrs = std::move(*xattrs);
    } else {
      cannot_read(folder->path, xattrs.error());
      frame->entry.flags |= store::kUnreadable;
    }
  }
  if (options_.tree == TreeKind::layer && hides_image(*fd)) {
    notes_.deleted.push_back(folder->path + "/");
  }
  output_.enter(*frame, folder->path);
  ++notes_.folders;
  scanner_.release(*folder);
  if (!frames_.empty()) frames_.back()->folder->rest();
  frames_.push_back(std::move(frame));
  return {};
}

void Walk::leave() {
  Frame& frame = *frames_.back();
  const bool same = frame.parent && is_unchanged(frame.entry, *frame.parent);
  const bool kept = output_.leave(frame, same && frames_.size() > 1);
  frames_.pop_back();
  if (frames_.empty()) return;
  frames_.back()->folder->wake();
  ++frames_.back()->taken;
  if (kept) ++frames_.back()->kept;
}

bool Walk::is_lost(const Frame& frame, const Entry* before) {
  if (before == nullptr || before->is_directory() || output_.is_stored(*before)) return false;
  log::warning(printable(join_path(frame.folder->path, before->name)) +
               ": what was stored of it is missing or damaged: reading it again");
  ++notes_.read_again;
  return true;
}

void Walk::take_file(Frame& frame, Entry entry, const Entry* before, int leaf, Stored stored) {
  Item item;
  item.kind = Item::Kind::file;
  item.leaf = leaf;
  if (before != nullptr) item.parent = *before;
  item.entry = entry;
  const std::string path = join_path(frame.folder->path, entry.name);
  auto folder = frame.folder->open();
  if (!folder) {
    item.kind = Item::Kind::entry;
    item.leaf = -1;
    item.entry.flags |= store::kUnreadable;
    cannot_read(path, folder.error());
    ++frame.taken;
    return output_.put(std::move(item));
  }
  Linked* link = nullptr;
  if (entry.links > 1) {
    link = &linked_[entry.inode];
    // The number may be another file's by now: the first one went while the walk did. Names of one
    // file that was written meanwhile are read each for itself, which gives no wrong content.
    if (link->ctime == entry.ctime && link->size == entry.size) item.work = link->work;
  }
  if (!item.work) {
    item.work = std::make_shared<FileWork>();
    item.work->name = entry.name;
    item.work->path = path;
    item.work->folder = std::move(*folder);
    item.work->space = frame.folder->space;
    item.work->entry = std::move(entry);
    item.work->large = item.entry.size >= store::kSmallFile;
    // Of a small file that equals the parent's the old extents would be kept. A large one is stored
    // chunk by chunk: cut as it was, it brings back the very chunks that are lost.
    if (stored == Stored::yes || item.work->large) item.work->parent = item.parent;
    if (link != nullptr) {
      *link = {.work = item.work, .ctime = item.entry.ctime, .size = item.entry.size};
    }
    if (options_.on_file) options_.on_file(item.work);
  }
  if (before == nullptr) ++notes_.new_files;
  ++frame.taken;
  output_.put(std::move(item));
}

void Walk::take_other(Frame& frame, ScannedEntry& scanned, const Entry* before, int leaf) {
  Entry& entry = scanned.listed.entry;
  const std::string path = join_path(frame.folder->path, entry.name);
  if (entry.is_directory()) {
    const std::string reason = off_limits_(scanned.listed).value_or("left out");
    if (!reason.empty()) notes_.skipped.push_back(path + ": " + reason);
    Item item;
    item.kind = Item::Kind::enter;
    if (before != nullptr) item.parent = *before;
    item.entry = entry;
    item.entry.flags = store::kNotCrossed;
    output_.put(Item(item));
    item.kind = Item::Kind::leave;
    output_.put(std::move(item));
    ++frame.taken;
    return;
  }
  const auto read = [&]() -> Result<std::vector<store::Xattr>> {
    return read_xattrs_at(*TRY(frame.folder->open()), entry.name, options_.tree);
  };
  auto xattrs = read();
  if (!xattrs && vanished(xattrs.error())) return;
  Item item;
  if (before != nullptr) item.parent = *before;
  item.entry = std::move(entry);
  item.entry.flags = is_racy(item.entry, frame.listed_at) ? store::kRacy : std::uint8_t{0};
  if (xattrs) {
    item.entry.xattrs = std::move(*xattrs);
  } else {
    cannot_read(path, xattrs.error());
    item.entry.flags |= store::kUnreadable;
  }
  if (before == nullptr) ++notes_.new_files;
  if (before != nullptr && item.entry == *before) {
    item.leaf = leaf;
    ++frame.kept;
  }
  ++frame.taken;
  output_.put(std::move(item));
}

Result<void> Walk::step() {
  Frame& frame = *frames_.back();
  if (frame.next == frame.folder->entries.size()) {
    leave();
    return {};
  }
  ScannedEntry& scanned = frame.folder->entries[frame.next++];
  const std::string& name = scanned.listed.entry.name;
  // What is off limits is known by the number that it has.
  const bool off_limits = scanned.listed.entry.is_directory() && !scanned.folder;
  if (!off_limits && scanned.listed.device == frame.folder->device) {
    scanned.listed.entry.inode = inode_in(frame.folder->space, scanned.listed.entry.inode);
  }
  if (options_.tree == TreeKind::layer && is_deletion(scanned.listed.entry)) {
    notes_.deleted.push_back(join_path(frame.folder->path, name));
    return {};
  }
  const auto [before, leaf] = frame.before.find(name);

  if (scanned.folder) {
    const std::shared_ptr<ScannedFolder> folder = std::move(scanned.folder);
    std::optional<Entry> parent;
    if (before != nullptr) parent = *before;
    TRY(enter(folder, parent, leaf));
    return {};
  }
  const bool is_directory = scanned.listed.entry.is_directory();
  const Stored stored = !is_directory && is_lost(frame, before) ? Stored::no : Stored::yes;
  if (before != nullptr && !is_directory && stored == Stored::yes &&
      is_unchanged(scanned.listed.entry, *before)) {
    Item item;
    item.entry = *before;
    item.leaf = leaf;
    ++frame.kept;
    ++frame.taken;
    ++notes_.unmodified_files;
    output_.put(std::move(item));
  } else if (scanned.listed.entry.type == FileType::regular && scanned.listed.entry.size > 0) {
    take_file(frame, std::move(scanned.listed.entry), before, leaf, stored);
  } else {
    take_other(frame, scanned, before, leaf);
  }
  return {};
}

Result<void> Walk::run(const std::shared_ptr<ScannedFolder>& root,
                       const std::optional<Entry>& parent,
                       const std::function<bool(Item&&)>& emit) {
  output_.begin(emit);
  TRY(enter(root, parent, -1));
  while (!frames_.empty() && !output_.is_stopped()) TRY(step());
  return output_.finish();
}

}  // namespace bygone::ingest
