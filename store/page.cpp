// SPDX-License-Identifier: Apache-2.0
#include "store/page.h"

#include "store/format.h"

namespace bygone::store {
namespace {

// In the flags byte on disk, beside the entry's own four flags.
constexpr std::uint8_t kOwnFlags = 0x0f;
constexpr std::uint8_t kHasXattrs = 0x40;
constexpr std::uint8_t kHasXattrNode = 0x80;
constexpr std::uint32_t kModeBits = 07777;
constexpr std::uint32_t kBillion = 1'000'000'000;

bool is_device(FileType type) {
  return type == FileType::char_device || type == FileType::block_device;
}

}  // namespace

bool is_valid_name(ByteView name) {
  const std::string_view text = as_text(name);
  return text != "." && text != ".." && text.find('/') == std::string_view::npos &&
         text.find('\0') == std::string_view::npos;
}

std::size_t entry_weight(const Entry& entry) {
  std::size_t weight = 48 + entry.name.size() + entry.target.size() + entry.inline_bytes.size() +
                       40 * entry.extents.size();
  for (const Xattr& xattr : entry.xattrs) weight += 4 + xattr.name.size() + xattr.value.size();
  if (entry.xattr_node) weight += 40;
  if (entry.content == Entry::Content::extent_node || entry.content == Entry::Content::directory) {
    weight += 40;
  }
  return weight;
}

std::uint64_t PageBuilder::index_of(const ChunkId& id) {
  if (is_this_page_(id)) return 0;
  const auto [at, fresh] = table_.try_emplace(id, ids_.size() + 1);
  if (fresh) ids_.push_back(id);
  return at->second;
}

void PageBuilder::put_ref(const NodeRef& ref) {
  nodes_.varint(index_of(ref.page));
  nodes_.varint(ref.node);
}

void PageBuilder::put_extent(const Extent& extent) {
  nodes_.varint(extent.length << 2 | static_cast<std::uint64_t>(extent.kind));
  if (extent.kind != Extent::Kind::data) return;
  nodes_.varint(index_of(extent.chunk));
  nodes_.varint(extent.offset);
}

void PageBuilder::put_xattrs(std::span<const Xattr> xattrs) {
  nodes_.varint(xattrs.size());
  for (const Xattr& xattr : xattrs) {
    nodes_.string(xattr.name);
    nodes_.string(xattr.value);
  }
}

void PageBuilder::put_entry(const Entry& entry) {
  nodes_.u8(static_cast<std::uint8_t>(static_cast<unsigned>(entry.type) |
                                      static_cast<unsigned>(entry.content) << 4));
  nodes_.u8(static_cast<std::uint8_t>((entry.flags & kOwnFlags) |
                                      (entry.xattrs.empty() ? 0 : kHasXattrs) |
                                      (entry.xattr_node ? kHasXattrNode : 0)));
  nodes_.string(entry.name);
  nodes_.varint(entry.mode & kModeBits);
  nodes_.varint(entry.uid);
  nodes_.varint(entry.gid);
  nodes_.svarint(entry.mtime.seconds);
  nodes_.varint(entry.mtime.nanoseconds);
  nodes_.svarint(entry.ctime.seconds);
  nodes_.varint(entry.ctime.nanoseconds);
  nodes_.varint(entry.inode);
  nodes_.varint(entry.links);
  if (entry.type == FileType::regular) nodes_.varint(entry.size);
  if (entry.type == FileType::symlink) nodes_.string(entry.target);
  if (is_device(entry.type)) nodes_.varint(entry.device);
  if (!entry.xattrs.empty()) put_xattrs(entry.xattrs);
  if (entry.xattr_node) put_ref(*entry.xattr_node);
  switch (entry.content) {
    case Entry::Content::none:
      break;
    case Entry::Content::inline_bytes:
      nodes_.bytes(entry.inline_bytes);
      break;
    case Entry::Content::extents:
      nodes_.varint(entry.extents.size());
      for (const Extent& extent : entry.extents) put_extent(extent);
      break;
    case Entry::Content::extent_node:
      put_ref(entry.node);
      break;
    case Entry::Content::directory:
      put_ref(entry.node);
      nodes_.varint(entry.entries);
      nodes_.varint(entry.subtree_files);
      nodes_.varint(entry.subtree_bytes);
      break;
  }
}

std::uint32_t PageBuilder::end_node() {
  ends_.push_back(nodes_.size());
  return static_cast<std::uint32_t>(ends_.size() - 1);
}

std::uint32_t PageBuilder::add_directory_leaf(std::span<const Entry> entries) {
  nodes_.u8(static_cast<std::uint8_t>(NodeKind::directory_leaf));
  nodes_.varint(entries.size());
  for (const Entry& entry : entries) put_entry(entry);
  return end_node();
}

std::uint32_t PageBuilder::add_directory_index(std::span<const DirectoryChild> children) {
  nodes_.u8(static_cast<std::uint8_t>(NodeKind::directory_index));
  nodes_.varint(children.size());
  for (const DirectoryChild& child : children) {
    nodes_.string(child.first_name);
    put_ref(child.node);
    nodes_.varint(child.entries);
  }
  return end_node();
}

std::uint32_t PageBuilder::add_extent_leaf(std::span<const Extent> extents) {
  nodes_.u8(static_cast<std::uint8_t>(NodeKind::extent_leaf));
  nodes_.varint(extents.size());
  for (const Extent& extent : extents) put_extent(extent);
  return end_node();
}

std::uint32_t PageBuilder::add_extent_index(std::span<const ExtentChild> children) {
  nodes_.u8(static_cast<std::uint8_t>(NodeKind::extent_index));
  nodes_.varint(children.size());
  for (const ExtentChild& child : children) {
    put_ref(child.node);
    nodes_.varint(child.length);
  }
  return end_node();
}

std::uint32_t PageBuilder::add_xattr_set(std::span<const Xattr> xattrs) {
  nodes_.u8(static_cast<std::uint8_t>(NodeKind::xattr_set));
  put_xattrs(xattrs);
  return end_node();
}

Bytes PageBuilder::finish() {
  Writer w;
  w.u8(kPageVersion);
  w.varint(ids_.size());
  for (const ChunkId& id : ids_) w.bytes(id.view());
  w.varint(ends_.size());
  std::size_t begin = 0;
  for (const std::size_t end : ends_) {
    w.varint(end - begin);
    begin = end;
  }
  w.bytes(nodes_.buffer());
  *this = PageBuilder(std::move(is_this_page_));
  return w.take();
}

Error Page::damaged(const char* what) const {
  return Error{Code::corrupt, 0, "page " + id_.hex() + ": " + what};
}

Result<Page> Page::parse(const ChunkId& id, std::shared_ptr<const Bytes> bytes) {
  Page page;
  page.id_ = id;
  page.bytes_ = std::move(bytes);
  Reader r(*page.bytes_);
  const std::uint8_t version = TRY(r.u8());
  if (version != kPageVersion) {
    return Error{Code::unsupported, 0,
                 "page " + id.hex() + " has version " + std::to_string(version) +
                     "; hint: a newer bygone wrote it"};
  }
  const std::uint64_t ids = TRY(r.varint_at_most(r.remaining() / 32));
  page.ids_.reserve(ids);
  for (std::uint64_t i = 0; i < ids; ++i) page.ids_.push_back(TRY(r.id<ChunkId>()));
  const std::uint64_t count = TRY(r.varint_at_most(r.remaining()));
  std::vector<std::uint64_t> sizes(count);
  for (std::uint64_t& size : sizes) size = TRY(r.varint_at_most(kMaxPage));
  page.nodes_.reserve(count);
  for (const std::uint64_t size : sizes) page.nodes_.push_back(TRY(r.bytes(size)));
  TRY(r.finish());
  return page;
}

Result<NodeKind> Page::kind(std::uint32_t node) const {
  if (node >= nodes_.size() || nodes_[node].empty()) return damaged("no such node");
  const std::uint8_t kind = nodes_[node][0];
  if (kind < 1 || kind > 5) return damaged("a node of unknown kind");
  return static_cast<NodeKind>(kind);
}

Result<Reader> Page::open(std::uint32_t node, NodeKind kind) const {
  const NodeKind found = TRY(this->kind(node));
  if (found != kind) return damaged("a node of another kind than its reference says");
  return Reader(nodes_[node].subspan(1));
}

Result<ChunkId> Page::get_id(Reader& r) const {
  const std::uint64_t index = TRY(r.varint_at_most(ids_.size()));
  return index == 0 ? id_ : ids_[index - 1];
}

Result<NodeRef> Page::get_ref(Reader& r) const {
  const ChunkId page = TRY(get_id(r));
  return NodeRef { page, static_cast<std::uint32_t>(TRY(r.varint_at_most(kMaxPage))) };
}

Result<Extent> Page::get_extent(Reader& r) const {
  const std::uint64_t head = TRY(r.varint());
  if ((head & 3) > 2) return damaged("an extent of unknown kind");
  Extent extent{
      .kind = static_cast<Extent::Kind>(head & 3), .length = head >> 2, .offset = 0, .chunk = {}};
  if (extent.length == 0) return damaged("an empty extent");
  if (extent.kind == Extent::Kind::data) {
    extent.chunk = TRY(get_id(r));
    extent.offset = static_cast<std::uint32_t>(TRY(r.varint_at_most(kMaxChunk)));
    if (extent.offset + extent.length > kMaxChunk) return damaged("an extent beyond its chunk");
  }
  return extent;
}

Result<std::vector<Xattr>> Page::get_xattrs(Reader& r) {
  const std::uint64_t count = TRY(r.varint_at_most(r.remaining() / 2));
  std::vector<Xattr> xattrs;
  xattrs.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const ByteView name = TRY(r.string(kMaxNameBytes));
    const ByteView value = TRY(r.string(kMaxXattrSet));
    xattrs.push_back({std::string(as_text(name)), Bytes(value.begin(), value.end())});
  }
  return xattrs;
}

Result<void> Page::get_content(Reader& r, Entry& entry) const {
  switch (entry.content) {
    case Entry::Content::none:
      return {};
    case Entry::Content::inline_bytes: {
      if (entry.size > kMaxInlineBytes) return damaged("inline bytes that are too many");
      const ByteView bytes = TRY(r.bytes(entry.size));
      entry.inline_bytes.assign(bytes.begin(), bytes.end());
      return {};
    }
    case Entry::Content::extents: {
      const std::uint64_t count = TRY(r.varint_at_most(kMaxInlineExtents));
      std::uint64_t total = 0;
      for (std::uint64_t i = 0; i < count; ++i) {
        entry.extents.push_back(TRY(get_extent(r)));
        total += entry.extents.back().length;
      }
      if (total != entry.size) return damaged("extents that do not add up to the file");
      return {};
    }
    case Entry::Content::extent_node:
      entry.node = TRY(get_ref(r));
      return {};
    case Entry::Content::directory:
      entry.node = TRY(get_ref(r));
      entry.entries = TRY(r.varint());
      entry.subtree_files = TRY(r.varint());
      entry.subtree_bytes = TRY(r.varint());
      return {};
  }
  return damaged("content of unknown kind");
}

Result<Entry> Page::get_entry(Reader& r) const {
  Entry entry;
  const std::uint8_t kinds = TRY(r.u8());
  const std::uint8_t flags = TRY(r.u8());
  const std::uint8_t type = kinds & 15;
  const std::uint8_t content = kinds >> 4;
  if (type < 1 || type > 7 || content > 4) return damaged("an entry of unknown type");
  entry.type = static_cast<FileType>(type);
  entry.content = static_cast<Entry::Content>(content);
  const bool file_content = content >= 1 && content <= 3;
  if ((file_content && entry.type != FileType::regular) ||
      ((entry.content == Entry::Content::directory) != entry.is_directory())) {
    return damaged("content that does not fit the type");
  }
  if ((flags & ~(kOwnFlags | kHasXattrs | kHasXattrNode)) != 0) {
    return damaged("an entry of unknown form");
  }
  entry.flags = flags & kOwnFlags;
  entry.name = as_text(TRY(r.string(kMaxNameBytes)));
  entry.mode = static_cast<std::uint32_t>(TRY(r.varint_at_most(kModeBits)));
  entry.uid = static_cast<std::uint32_t>(TRY(r.varint_at_most(0xffffffff)));
  entry.gid = static_cast<std::uint32_t>(TRY(r.varint_at_most(0xffffffff)));
  entry.mtime.seconds = TRY(r.svarint());
  entry.mtime.nanoseconds = static_cast<std::uint32_t>(TRY(r.varint_at_most(kBillion - 1)));
  entry.ctime.seconds = TRY(r.svarint());
  entry.ctime.nanoseconds = static_cast<std::uint32_t>(TRY(r.varint_at_most(kBillion - 1)));
  entry.inode = TRY(r.varint());
  entry.links = static_cast<std::uint32_t>(TRY(r.varint_at_most(0xffffffff)));
  if (entry.type == FileType::regular) {
    entry.size = TRY(r.varint_at_most(std::uint64_t{1} << 63));
  } else if (entry.type == FileType::symlink) {
    entry.target = as_text(TRY(r.string(kMaxTargetBytes)));
    entry.size = entry.target.size();
  } else if (is_device(entry.type)) {
    entry.device = TRY(r.varint());
  }
  if ((flags & kHasXattrs) != 0) entry.xattrs = TRY(get_xattrs(r));
  if ((flags & kHasXattrNode) != 0) entry.xattr_node = TRY(get_ref(r));
  TRY(get_content(r, entry));
  return entry;
}

Result<void> Page::directory_leaf(std::uint32_t node, std::uint64_t from,
                                  const std::function<bool(Entry&&)>& visit) const {
  Reader r = TRY(open(node, NodeKind::directory_leaf));
  const std::uint64_t count = TRY(r.varint_at_most(r.remaining()));
  std::string previous;
  for (std::uint64_t i = 0; i < count; ++i) {
    Entry entry = TRY(get_entry(r));
    if (!is_valid_name(as_bytes(entry.name)) || (count > 1 && entry.name.empty())) {
      return damaged("an impossible name");
    }
    if (i > 0 && entry.name <= previous) return damaged("names out of order");
    previous = entry.name;
    if (i >= from && !visit(std::move(entry))) return {};
  }
  return r.finish();
}

Result<std::optional<Entry>> Page::find(std::uint32_t node, std::string_view name) const {
  std::optional<Entry> found;
  TRY(directory_leaf(node, 0, [&](Entry&& entry) {
    const bool before = entry.name < name;
    if (entry.name == name) found = std::move(entry);
    return before;
  }));
  return found;
}

Result<std::uint64_t> Page::leaf_entries(std::uint32_t node) const {
  Reader r = TRY(open(node, NodeKind::directory_leaf));
  return r.varint_at_most(r.remaining());
}

Result<std::vector<DirectoryChild>> Page::directory_index(std::uint32_t node) const {
  Reader r = TRY(open(node, NodeKind::directory_index));
  const std::uint64_t count = TRY(r.varint_at_most(kMaxChildren));
  std::vector<DirectoryChild> children(count);
  for (DirectoryChild& child : children) {
    child.first_name = as_text(TRY(r.string(kMaxNameBytes)));
    child.node = TRY(get_ref(r));
    child.entries = TRY(r.varint());
  }
  TRY(r.finish());
  return children;
}

Result<std::vector<Extent>> Page::extent_leaf(std::uint32_t node) const {
  Reader r = TRY(open(node, NodeKind::extent_leaf));
  const std::uint64_t count = TRY(r.varint_at_most(kExtentsPerNode));
  std::vector<Extent> extents(count);
  for (Extent& extent : extents) extent = TRY(get_extent(r));
  TRY(r.finish());
  return extents;
}

Result<std::vector<ExtentChild>> Page::extent_index(std::uint32_t node) const {
  Reader r = TRY(open(node, NodeKind::extent_index));
  const std::uint64_t count = TRY(r.varint_at_most(kMaxChildren));
  std::vector<ExtentChild> children(count);
  for (ExtentChild& child : children) {
    child.node = TRY(get_ref(r));
    child.length = TRY(r.varint());
  }
  TRY(r.finish());
  return children;
}

Result<std::vector<Xattr>> Page::xattr_set(std::uint32_t node) const {
  Reader r = TRY(open(node, NodeKind::xattr_set));
  std::vector<Xattr> xattrs = TRY(get_xattrs(r));
  TRY(r.finish());
  return xattrs;
}

}  // namespace bygone::store
