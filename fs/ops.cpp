// SPDX-License-Identifier: Apache-2.0
#include "fs/ops.h"

#define FUSE_USE_VERSION 312
#include <cerrno>
#include <cstring>

#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include "store/base/log.h"
#include "store/stat_types.h"

namespace bygone::fs {
namespace {

constexpr std::size_t kMostPieces = 1000;  // writev(2) takes 1024, libfuse adds one

Service& service(fuse_req_t req) { return *static_cast<Service*>(fuse_req_userdata(req)); }

double seconds(Lifetime lifetime) {
  switch (lifetime) {
    case Lifetime::forever:
      return 1e9;
    case Lifetime::brief:
      return 1.0;
    case Lifetime::moment:
      break;
  }
  return 0.0;
}

struct stat to_stat(const Attributes& a) {
  struct stat out {};
  out.st_ino = a.ino;
  out.st_mode = store::format_bits(a.type) | (a.mode & 07777);
  out.st_nlink = a.links;
  out.st_uid = a.uid;
  out.st_gid = a.gid;
  out.st_rdev = a.device;
  out.st_size = static_cast<off_t>(a.size);
  out.st_blksize = 4096;
  // cp looks for holes only where blocks are fewer than the size needs.
  out.st_blocks = static_cast<blkcnt_t>((a.allocated + 4095) / 4096 * 8);
  out.st_mtim = store::to_timespec(a.mtime);
  out.st_ctim = store::to_timespec(a.ctime);
  out.st_atim = out.st_mtim;
  return out;
}

fuse_entry_param to_entry(const Found& found) {
  fuse_entry_param out{};
  out.ino = found.node;
  out.attr = to_stat(found.attributes);
  out.attr_timeout = seconds(found.content);
  out.entry_timeout = seconds(found.name);
  return out;
}

// Each text once: the kernel asks again for every page of a damaged range.
void log_once(const std::string& text) {
  static LruCache<std::string, bool> told(256);
  if (told.find(text)) return;
  told.insert(text, true, 1);
  log::error(text);
}

void fail(fuse_req_t req, NodeId node, const char* doing, const Error& error) {
  Namespace& names = service(req).names;
  const int number = names.error_number(node, error);
  if (number == EIO) {
    log_once(std::string(doing) + " " + names.path(node) + ": " + error.message);
  }
  fuse_reply_err(req, number);
}

void on_init(void* /*userdata*/, fuse_conn_info* conn) {
  // AUTO makes every tree walk seven times slower; splice and its copies two times (fuse.md 1, 11).
  conn->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_SPLICE_READ |
                                       FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  conn->want |=
      conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_POSIX_ACL | FUSE_CAP_CACHE_SYMLINKS);
}

void on_lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Namespace& names = service(req).names;
  const Result<Lookup> answer = names.lookup(parent, name);
  if (!answer.ok()) return fail(req, parent, "looking into", answer.error());
  if (!answer->found) {
    if (!answer->absent_for_ever) {
      fuse_reply_err(req, ENOENT);
      return;
    }
    fuse_entry_param absent{};
    absent.entry_timeout = seconds(Lifetime::forever);
    fuse_reply_entry(req, &absent);
    return;
  }
  const fuse_entry_param entry = to_entry(*answer->found);
  // A reply that did not arrive leaves the kernel without the number.
  if (fuse_reply_entry(req, &entry) != 0) names.forget(entry.ino, 1);
}

void on_forget(fuse_req_t req, fuse_ino_t node, std::uint64_t count) {
  service(req).names.forget(node, count);
  fuse_reply_none(req);
}

void on_forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) {
    service(req).names.forget(forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(req);
}

void on_getattr(fuse_req_t req, fuse_ino_t node, fuse_file_info* /*fi*/) {
  const Result<Found> found = service(req).names.attributes(node);
  if (!found.ok()) return fail(req, node, "reading attributes of", found.error());
  const struct stat st = to_stat(found->attributes);
  fuse_reply_attr(req, &st, seconds(found->content));
}

void on_readlink(fuse_req_t req, fuse_ino_t node) {
  const Result<std::string> target = service(req).names.read_link(node);
  if (!target.ok()) return fail(req, node, "reading the link", target.error());
  fuse_reply_readlink(req, target->c_str());
}

// ENOSYS once: from then on the kernel opens files without asking and keeps what it read.
void on_open(fuse_req_t req, fuse_ino_t /*node*/, fuse_file_info* /*fi*/) {
  fuse_reply_err(req, ENOSYS);
}
void on_flush(fuse_req_t req, fuse_ino_t /*node*/, fuse_file_info* /*fi*/) {
  fuse_reply_err(req, ENOSYS);
}

void reply_pieces(fuse_req_t req, const std::vector<Piece>& pieces) {
  std::vector<iovec> parts;
  Bytes joined;
  if (pieces.size() > kMostPieces) {
    for (const Piece& piece : pieces) {
      joined.insert(joined.end(), piece.bytes.begin(), piece.bytes.end());
    }
    parts.push_back({joined.data(), joined.size()});
  } else {
    for (const Piece& piece : pieces) {
      // libfuse only reads from it; iovec has no const.
      parts.push_back({const_cast<std::uint8_t*>(piece.bytes.data()), piece.bytes.size()});
    }
  }
  fuse_reply_iov(req, parts.data(), static_cast<int>(parts.size()));
}

void on_read(fuse_req_t req, fuse_ino_t node, std::size_t size, off_t offset,
             fuse_file_info* /*fi*/) {
  Service& s = service(req);
  const Result<Captured> file = s.names.file(node);
  if (!file.ok()) return fail(req, node, "reading", file.error());
  const auto pieces = s.reader.read(node, file->entry, static_cast<std::uint64_t>(offset), size);
  if (!pieces.ok()) return fail(req, node, "reading", pieces.error());
  reply_pieces(req, *pieces);
}

void on_lseek(fuse_req_t req, fuse_ino_t node, off_t offset, int whence, fuse_file_info* /*fi*/) {
  Service& s = service(req);
  const Result<Captured> file = s.names.file(node);
  if (!file.ok()) return fail(req, node, "seeking in", file.error());
  if (offset < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
    fuse_reply_err(req, offset < 0 ? ENXIO : EINVAL);
    return;
  }
  const auto from = static_cast<std::uint64_t>(offset);
  const auto next = whence == SEEK_DATA ? s.reader.next_data(*file->entry, from)
                                        : s.reader.next_hole(*file->entry, from);
  if (!next.ok()) return fail(req, node, "seeking in", next.error());
  if (*next) {
    fuse_reply_lseek(req, static_cast<off_t>(**next));
  } else {
    fuse_reply_err(req, ENXIO);
  }
}

// ---- directories

struct OpenFolder {
  Listing listing;
  bool was_read = false;
};

OpenFolder& open_folder(const fuse_file_info* fi) {
  return *reinterpret_cast<OpenFolder*>(fi->fh);  // NOLINT(performance-no-int-to-ptr)
}

void on_opendir(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  Result<Listing> listing = service(req).names.open_folder(node);
  if (!listing.ok()) return fail(req, node, "opening", listing.error());
  auto folder = std::make_unique<OpenFolder>();
  folder->listing = std::move(*listing);
  fi->fh = reinterpret_cast<std::uint64_t>(folder.get());
  fi->cache_readdir = 1;
  fi->keep_cache = 1;
  if (fuse_reply_open(req, fi) == 0) {
    [[maybe_unused]] const OpenFolder* const kept = folder.release();  // until releasedir
  }
}

void on_releasedir(fuse_req_t req, fuse_ino_t /*node*/, fuse_file_info* fi) {
  delete &open_folder(fi);
  fuse_reply_err(req, 0);
}

// A reply under construction: entries until one does not fit.
class FolderReply {
 public:
  FolderReply(fuse_req_t req, std::size_t size, bool plus)
      : req_(req), buffer_(size), plus_(plus) {}

  // False when it does not fit. `next`: the offset after this entry.
  bool add(const char* name, const fuse_entry_param& entry, std::uint64_t next) {
    char* at = buffer_.data() + used_;
    const std::size_t left = buffer_.size() - used_;
    const auto offset = static_cast<off_t>(next);
    const std::size_t need = plus_ ? fuse_add_direntry_plus(req_, at, left, name, &entry, offset)
                                   : fuse_add_direntry(req_, at, left, name, &entry.attr, offset);
    if (need > left) return false;
    used_ += need;
    if (plus_ && entry.ino != 0) nodes_.push_back(entry.ino);
    return true;
  }
  [[nodiscard]] bool empty() const { return used_ == 0; }
  [[nodiscard]] const std::vector<NodeId>& nodes() const { return nodes_; }
  int send() { return fuse_reply_buf(req_, buffer_.data(), used_); }

 private:
  fuse_req_t req_;
  std::vector<char> buffer_;
  std::size_t used_ = 0;
  bool plus_;
  std::vector<NodeId> nodes_;
};

// "." and "..": the kernel knows them and wants no node for them.
fuse_entry_param dot_entry(std::uint64_t ino) {
  fuse_entry_param out{};
  out.attr.st_ino = ino;
  out.attr.st_mode = S_IFDIR;
  return out;
}

void read_folder(fuse_req_t req, fuse_ino_t node, std::size_t size, off_t offset,
                 const fuse_file_info* fi, bool plus) {
  Namespace& names = service(req).names;
  OpenFolder& folder = open_folder(fi);
  if (offset == 0 && folder.was_read) {  // rewinddir(3) looks again
    if (Result<Listing> again = names.open_folder(node); again.ok()) {
      folder.listing = std::move(*again);
    }
  }
  folder.was_read = true;
  const Listing& listing = folder.listing;
  FolderReply reply(req, size, plus);
  bool fits = true;
  if (offset <= 0) fits = reply.add(".", dot_entry(listing.ino), 1);
  if (fits && offset <= 1) fits = reply.add("..", dot_entry(listing.parent_ino), 2);
  if (fits) {
    const std::uint64_t from = offset <= 2 ? 0 : static_cast<std::uint64_t>(offset) - 2;
    const Result<void> listed = names.list(
        listing, from, [&](const std::string& name, const Found& found, std::uint64_t next) {
          if (!reply.add(name.c_str(), to_entry(found), next + 2)) return false;
          if (!plus) names.forget(found.node, 1);  // plain listings hand no numbers out
          return true;
        });
    // What came before a damaged leaf is listed; the next request meets the damage first.
    if (!listed.ok() && reply.empty()) return fail(req, node, "listing", listed.error());
  }
  if (reply.send() != 0) {
    for (const NodeId sent : reply.nodes()) names.forget(sent, 1);
  }
}

void on_readdir(fuse_req_t req, fuse_ino_t node, std::size_t size, off_t offset,
                fuse_file_info* fi) {
  read_folder(req, node, size, offset, fi, false);
}
void on_readdirplus(fuse_req_t req, fuse_ino_t node, std::size_t size, off_t offset,
                    fuse_file_info* fi) {
  read_folder(req, node, size, offset, fi, true);
}

void on_statfs(fuse_req_t req, fuse_ino_t /*node*/) {
  struct statvfs out {};
  out.f_bsize = out.f_frsize = 4096;
  out.f_namemax = 255;
  fuse_reply_statfs(req, &out);
}

// ---- extended attributes

// ENODATA and never ENOSYS: that would switch them off for the whole mount.
void reply_bytes(fuse_req_t req, std::string_view value, std::size_t size) {
  if (size == 0) {
    fuse_reply_xattr(req, value.size());
  } else if (value.size() > size) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, value.data(), value.size());
  }
}

void on_getxattr(fuse_req_t req, fuse_ino_t node, const char* name, std::size_t size) {
  const auto xattrs = service(req).names.xattrs(node);
  if (!xattrs.ok()) return fail(req, node, "reading attributes of", xattrs.error());
  for (const store::Xattr& xattr : *xattrs) {
    if (xattr.name == name) return reply_bytes(req, as_text(xattr.value), size);
  }
  fuse_reply_err(req, ENODATA);
}

void on_listxattr(fuse_req_t req, fuse_ino_t node, std::size_t size) {
  const auto xattrs = service(req).names.xattrs(node);
  if (!xattrs.ok()) return fail(req, node, "reading attributes of", xattrs.error());
  const bool is_root = fuse_req_ctx(req)->uid == 0;
  std::string list;
  for (const store::Xattr& xattr : *xattrs) {
    // The kernel refuses these to others, but would show that they are there.
    if (!is_root && xattr.name.starts_with("trusted.")) continue;
    list += xattr.name;
    list += '\0';
  }
  reply_bytes(req, list, size);
}

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops ops{};
  ops.init = on_init;
  ops.lookup = on_lookup;
  ops.forget = on_forget;
  ops.forget_multi = on_forget_multi;
  ops.getattr = on_getattr;
  ops.readlink = on_readlink;
  ops.open = on_open;
  ops.flush = on_flush;
  ops.read = on_read;
  ops.lseek = on_lseek;
  ops.opendir = on_opendir;
  ops.releasedir = on_releasedir;
  ops.readdir = on_readdir;
  ops.readdirplus = on_readdirplus;
  ops.statfs = on_statfs;
  ops.getxattr = on_getxattr;
  ops.listxattr = on_listxattr;
  return ops;
}

}  // namespace

const fuse_lowlevel_ops& operations() {
  static const fuse_lowlevel_ops ops = make_operations();
  return ops;
}

}  // namespace bygone::fs
