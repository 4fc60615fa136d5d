// SPDX-License-Identifier: Apache-2.0
#include "fs/restore_writer.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace bygone::fs {
namespace {

using store::Entry;
using store::FileType;

RestoreAction action_of(Decision decision) {
  switch (decision) {
    case Decision::create:
      return RestoreAction::created;
    case Decision::replace:
      return RestoreAction::replaced;
    default:
      return RestoreAction::kept;
  }
}

// Whether the written pieces leave the file shorter than it is.
bool ends_in_hole(const Entry& file) {
  if (file.content == Entry::Content::extent_node) return true;  // not known without reading it
  return !file.extents.empty() && file.extents.back().kind == store::Extent::Kind::hole;
}

Result<void> set_size(int fd, const Entry& file) {
  if (!ends_in_hole(file)) return {};
  if (ftruncate(fd, static_cast<off_t>(file.size)) != 0) return os_error(errno, "setting the size");
  return {};
}

Result<std::vector<store::Xattr>> xattrs_of(Job& job, const Entry& entry) {
  if (entry.xattrs.empty() && !entry.xattr_node) return std::vector<store::Xattr>();
  return job.trees.xattrs(entry);
}

// `at`: an open folder in it, if there is one; then itself.
Result<void> set_folder_metadata(Job& job, Folder& folder, FdPtr& at) {
  const bool existed = folder.origin() == Folder::Origin::existing;
  if (job.options.dry_run || !folder.has_entry()) return {};
  if (existed && job.options.overwrite == Overwrite::never) return {};
  at = TRY(at ? folder.open_above(*at) : folder.open());
  const std::vector<store::Xattr> xattrs = TRY(xattrs_of(job, folder.entry()));
  return apply_metadata({-1, {}, at->get()}, folder.entry(), xattrs,
                        existed ? Existing::yes : Existing::no, job.limits);
}

}  // namespace

// A step up from each to the one above: in a deep tree the way down to it may be long.
void finish_folder(Job& job, FolderPtr folder) {
  FdPtr at;
  while (folder && folder->done()) {
    if (const auto set = set_folder_metadata(job, *folder, at); !set.ok()) {
      job.failed(folder->path(), set.error());
    }
    folder->leave();
    FolderPtr parent = folder->parent();
    folder = std::move(parent);
  }
}

Writer::Writer(Job& job)
    : job_(job), content_(job.trees, job.chunks, job.cancel, job.progress.bytes_done) {}

Result<Decision> Writer::settle(const Item& item, int folder) const {
  if (item.entry.flags & store::kUnreadable) {
    return Error{Code::not_found, 0, "its content could not be read when it was backed up"};
  }
  if (item.folder->origin() == Folder::Origin::created) return Decision::create;
  const auto standing = TRY(look(folder, item.entry.name));
  return decide(folder, item.entry.name, standing, item.entry, job_.options.overwrite);
}

// A folder in the way goes only when it is empty or the user allowed it.
Result<void> Writer::make_room(const Item& item, int folder) {
  const std::string& name = item.entry.name;
  const auto standing = TRY(look(folder, name));
  if (!standing || !S_ISDIR(standing->st_mode)) return {};
  if (job_.options.delete_extra) return remove_tree(folder, name);
  if (unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0) return {};
  if (errno != ENOTEMPTY && errno != EEXIST) return os_error(errno, "removing a folder in its way");
  return Error{Code::exists, 0, "a folder that is not empty stands there; hint: --delete"};
}

Result<void> Writer::dress(const Item& item, const Node& node) {
  const std::vector<store::Xattr> xattrs = TRY(xattrs_of(job_, item.entry));
  // In a folder that stood there before, even a new file may have inherited an ACL.
  const bool existing = item.folder->origin() == Folder::Origin::existing;
  return apply_metadata(node, item.entry, xattrs, existing ? Existing::yes : Existing::no,
                        job_.limits);
}

Result<void> Writer::keep_content(const Item& item, int folder) {
  const std::string& name = item.entry.name;
  if (item.entry.type != FileType::regular) return dress(item, {folder, name, -1});
  const Fd fd(openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.is_open()) return os_error(errno, "opening the file that is kept");
  return dress(item, {folder, name, fd.get()});
}

Result<void> Writer::write_new(const Item& item, int folder, Decision decision) {
  Placement placement(folder, item.entry.name, decision);
  if (item.entry.type == FileType::regular) {
    const Fd fd = TRY(placement.create_file());
    TRY(content_.write(fd.get(), item.entry, 0, item.entry.size));
    TRY(set_size(fd.get(), item.entry));
    TRY(dress(item, {folder, placement.current(), fd.get()}));
  } else {
    TRY(placement.create_special(item.entry));
    TRY(dress(item, {folder, placement.current(), -1}));
  }
  if (decision == Decision::replace) TRY(make_room(item, folder));
  return placement.commit();
}

Result<Outcome> Writer::try_restore(const Item& item) {
  const FdPtr folder = TRY(folders_.open(item.folder));
  const Decision decision = TRY(settle(item, folder->get()));
  if (decision == Decision::keep) job_.skip_verify(item.number);
  if (!job_.options.dry_run) {
    if (decision == Decision::refresh) TRY(keep_content(item, folder->get()));
    if (decision == Decision::create || decision == Decision::replace) {
      TRY(write_new(item, folder->get(), decision));
    }
  }
  job_.acted(action_of(decision), item.folder->path(item.entry.name));
  return decision == Decision::keep ? Outcome::other : Outcome::restored;
}

Outcome Writer::restore(const Item& item) {
  const Result<Outcome> result = try_restore(item);
  finish(item, result.ok() ? Result<void>() : Result<void>(result.error()), content_.take_count());
  return result.ok() ? *result : Outcome::other;
}

Result<bool> Writer::try_link(const Item& item, const FolderPtr& first_folder,
                              const std::string& first) {
  const FdPtr folder = TRY(folders_.open(item.folder));
  const FdPtr from = TRY(first_folder->open());
  Decision decision = TRY(settle(item, folder->get()));
  const auto standing = TRY(look(folder->get(), item.entry.name));
  const auto target = TRY(look(from->get(), first));
  if (decision == Decision::refresh) decision = Decision::replace;
  if (standing && target && standing->st_dev == target->st_dev &&
      standing->st_ino == target->st_ino) {
    decision = Decision::refresh;  // linked already
  }
  if (decision == Decision::keep) job_.skip_verify(item.number);
  if (decision == Decision::create || decision == Decision::replace) {
    Placement placement(folder->get(), item.entry.name, decision);
    if (const auto linked = placement.create_link(from->get(), first); !linked.ok()) {
      const int error = linked.error().errnum;
      if (error != EMLINK && error != EPERM && error != EOPNOTSUPP) return linked.error();
      job_.limits.note("some hard links became files of their own: no link is possible here");
      return false;
    }
    if (decision == Decision::replace) TRY(make_room(item, folder->get()));
    TRY(placement.commit());
  }
  job_.acted(action_of(decision), item.folder->path(item.entry.name));
  return true;
}

bool Writer::link(const Item& item, const FolderPtr& first_folder, const std::string& first) {
  const Result<bool> linked = try_link(item, first_folder, first);
  if (linked.ok() && !*linked) return false;
  finish(item, linked.ok() ? Result<void>() : Result<void>(linked.error()), 0);
  return true;
}

Result<std::shared_ptr<BigFile>> Writer::try_begin(const Item& item) {
  const FdPtr folder = TRY(folders_.open(item.folder));
  const Decision decision = TRY(settle(item, folder->get()));
  if (job_.options.dry_run || decision == Decision::keep || decision == Decision::refresh) {
    return std::shared_ptr<BigFile>();
  }
  auto file = std::make_shared<BigFile>();
  file->item = item;
  file->folder = folder;
  file->decision = decision;
  file->placement = Placement(folder->get(), item.entry.name, decision);
  file->fd = TRY(file->placement.create_file());
  file->segments_left = (item.entry.size + kSegment - 1) / kSegment;
  return file;
}

std::shared_ptr<BigFile> Writer::begin(const Item& item) {
  Result<std::shared_ptr<BigFile>> file = try_begin(item);
  if (!file.ok()) {
    finish(item, file.error(), 0);
    return nullptr;
  }
  if (*file == nullptr) restore(item);
  return *file;
}

Result<void> Writer::end(BigFile& file) {
  const Item& item = file.item;
  const int folder = file.folder->get();
  TRY(set_size(file.fd.get(), item.entry));
  TRY(dress(item, {folder, file.placement.current(), file.fd.get()}));
  if (file.decision == Decision::replace) TRY(make_room(item, folder));
  TRY(file.placement.commit());
  job_.acted(action_of(file.decision), item.folder->path(item.entry.name));
  return {};
}

void Writer::fill(BigFile& file, std::uint64_t begin, std::uint64_t end_offset) {
  Result<void> written;
  if (!file.failed) written = content_.write(file.fd.get(), file.item.entry, begin, end_offset);
  file.bytes_done += content_.take_count();
  if (!written.ok() && !file.failed.exchange(true)) {
    job_.skip_verify(file.item.number);
    if (written.error().code != Code::cancelled) {
      job_.failed(file.item.folder->path(file.item.entry.name), written.error());
    }
  }
  if (--file.segments_left != 0) return;
  const Result<void> ended = file.failed ? Result<void>() : end(file);
  file.placement = Placement();  // removes what is not whole, while the folder is still open
  finish(file.item, ended, file.bytes_done);
}

void Writer::finish(const Item& item, const Result<void>& result, std::uint64_t bytes_counted) {
  if (!result.ok()) {
    job_.skip_verify(item.number);
    if (result.error().code != Code::cancelled) {
      job_.failed(item.folder->path(item.entry.name), result.error());
    }
  }
  if (result.ok()) job_.bytes += bytes_counted;
  ++job_.progress.files_done;
  const std::uint64_t size = item.entry.type == FileType::regular ? item.entry.size : 0;
  if (size > bytes_counted) job_.progress.bytes_done += size - bytes_counted;
  finish_folder(job_, item.folder);
}

}  // namespace bygone::fs
