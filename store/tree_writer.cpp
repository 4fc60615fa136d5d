// SPDX-License-Identifier: Apache-2.0
#include "store/tree_writer.h"

#include <algorithm>
#include <map>

#include "store/format.h"
#include "store/page.h"
#include "store/page_liveness.h"

namespace bygone::store {
namespace {

// Provisional page ids: 24 zero bytes, then the page's number plus one. A keyed hash that begins
// so is as unlikely as a forged one.
ChunkId provisional_id(std::uint64_t page) {
  ChunkId id;
  for (std::size_t i = 0; i < 8; ++i) {
    id.bytes[31 - i] = static_cast<std::uint8_t>((page + 1) >> (8 * i));
  }
  return id;
}

std::optional<std::uint64_t> provisional_number(const ChunkId& id) {
  for (std::size_t i = 0; i < 24; ++i) {
    if (id.bytes[i] != 0) return std::nullopt;
  }
  std::uint64_t number = 0;
  for (std::size_t i = 24; i < 32; ++i) number = number << 8 | id.bytes[i];
  if (number == 0) return std::nullopt;
  return number - 1;
}

// The head of an extent keeps its length above two bits of kind.
constexpr std::uint64_t kMaxExtent = std::uint64_t{1} << 60;

// Sparse files of up to 2^63 - 1 bytes have holes longer than one extent can say.
std::vector<Extent> split_long(std::vector<Extent> extents) {
  const auto is_long = [](const Extent& extent) { return extent.length > kMaxExtent; };
  if (std::none_of(extents.begin(), extents.end(), is_long)) return extents;
  std::vector<Extent> out;
  for (Extent& extent : extents) {
    for (std::uint64_t rest = extent.length; rest > 0; rest -= extent.length) {
      extent.length = std::min(rest, kMaxExtent);
      out.push_back(extent);
    }
  }
  return out;
}

// What would not read back must not be written: one such name would make its whole leaf damaged.
const char* fault_of(const Entry& entry) {
  if (!is_valid_name(as_bytes(entry.name)) || entry.name.empty()) return "an impossible name";
  if (entry.name.size() > kMaxNameBytes) return "a name of more than 255 bytes";
  if (entry.target.size() > kMaxTargetBytes) return "a symlink target of more than 4096 bytes";
  if (entry.content == Entry::Content::inline_bytes &&
      (entry.inline_bytes.size() != entry.size || entry.size > kMaxInlineBytes)) {
    return "inline bytes that are not the file's";
  }
  std::uint64_t total = 0;
  for (const Extent& extent : entry.extents) total += extent.length;
  if (entry.content == Entry::Content::extents && total != entry.size) {
    return "extents that do not add up to its size";
  }
  return nullptr;
}

Result<void> check_entries(std::span<const Entry> entries) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const char* fault = fault_of(entries[i]);
    if (i > 0 && entries[i].name <= entries[i - 1].name) fault = "names out of order";
    if (fault == nullptr) continue;
    return Error{Code::invalid, 0,
                 "writing the tree: " + printable(entries[i].name) + ": " + fault};
  }
  return {};
}

}  // namespace

class TreeWriter::Impl {
 public:
  Impl(const KeyRing& keys, PageSink& sink)
      : keys_(keys),
        sink_(sink),
        builder_([this](const ChunkId& id) { return provisional_number(id) == closed_.size(); }) {}

  void resolve(NodeRef& ref) const {
    const auto number = provisional_number(ref.page);
    if (number && *number < closed_.size()) ref.page = closed_[*number];
  }

  // Adds a node with `add` and returns a reference to it, closing the page when it is full.
  template <class Add>
  Result<NodeRef> add_node(Add add) {
    const NodeRef ref{provisional_id(closed_.size()), add(builder_)};
    if (builder_.size_bytes() >= kPageClose) TRY(close_page());
    return ref;
  }

  Result<void> close_page() {
    if (builder_.empty()) return {};
    Bytes page = builder_.finish();
    if (page.size() > kMaxPage) {
      return Error{Code::invalid, 0, "a directory page passes " + std::to_string(kMaxPage)};
    }
    const ChunkId id = keys_.chunk_id(ChunkKind::page, page);
    closed_.push_back(id);
    return sink_.put_page(id, std::move(page));
  }

  // Entries carry references made while an earlier page was open: give them their final ids.
  void resolve_entry(Entry& entry) const {
    resolve(entry.node);
    if (entry.xattr_node) resolve(*entry.xattr_node);
  }

  Result<NodeRef> add_leaf(std::span<const Entry> entries) {
    std::vector<Entry> resolved(entries.begin(), entries.end());
    for (Entry& entry : resolved) resolve_entry(entry);
    return add_node([&](PageBuilder& b) { return b.add_directory_leaf(resolved); });
  }

  Result<NodeRef> add_split(std::span<const Entry> entries, std::span<const KnownLeaf> known);
  Result<std::vector<ExtentChild>> add_extent_leaves(const std::vector<Extent>& extents,
                                                     const Entry* parent, TreeReader* reader);
  Result<NodeRef> add_extent_tree(std::vector<ExtentChild> level);

  [[nodiscard]] bool cuts_after(const std::string& name, std::uint64_t mask) const {
    return (keys_.name_hash(as_bytes(name)) & mask) == 0;
  }

  [[nodiscard]] bool may_refer(const NodeRef& node) const {
    return liveness == nullptr || !liveness->is_thin(node.page);
  }

  const PageLiveness* liveness = nullptr;

 private:
  const KeyRing& keys_;
  PageSink& sink_;
  std::vector<ChunkId> closed_;
  PageBuilder builder_;
};

TreeWriter::TreeWriter(const KeyRing& keys, PageSink& sink)
    : impl_(std::make_unique<Impl>(keys, sink)) {}
TreeWriter::~TreeWriter() = default;

void TreeWriter::leave_thin_pages(const PageLiveness* liveness) { impl_->liveness = liveness; }

Result<void> TreeWriter::add_xattrs(Entry& entry) {
  std::size_t size = 0;
  for (const Xattr& xattr : entry.xattrs) {
    size += 4 + xattr.name.size() + xattr.value.size();
    if (xattr.name.size() > kMaxNameBytes) {
      return Error{Code::invalid, 0,
                   printable(entry.name) + ": an attribute's name of more than 255 bytes"};
    }
  }
  if (size <= kMaxInlineXattrs) return {};
  if (size > kMaxXattrSet) {
    return Error{Code::invalid, 0,
                 printable(entry.name) + ": more than 1 MiB of extended attributes"};
  }
  entry.xattr_node =
      TRY(impl_->add_node([&](PageBuilder& b) { return b.add_xattr_set(entry.xattrs); }));
  entry.xattrs.clear();
  return {};
}

Result<std::vector<ExtentChild>> TreeWriter::Impl::add_extent_leaves(
    const std::vector<Extent>& extents, const Entry* parent, TreeReader* reader) {
  // The parent's leaves by file offset: an equal run of extents is referred to again.
  std::map<std::uint64_t, std::pair<NodeRef, std::vector<Extent>>> known;
  if (parent != nullptr && reader != nullptr && parent->content == Entry::Content::extent_node) {
    const auto read = reader->extent_leaves(
        *parent, [&](std::uint64_t offset, const NodeRef& node, std::vector<Extent>&& leaf) {
          if (may_refer(node)) known.emplace(offset, std::pair(node, std::move(leaf)));
        });
    ignore(read, "what of the parent cannot be read is written anew; what was read still holds");
  }
  std::vector<ExtentChild> children;
  std::uint64_t offset = 0;
  for (std::size_t begin = 0; begin < extents.size();) {
    const std::uint64_t leaf_offset = offset;
    const std::uint64_t window = offset / kExtentWindow;
    std::size_t end = begin;
    while (end < extents.size() && end - begin < kExtentsPerNode &&
           offset / kExtentWindow == window) {
      offset += extents[end++].length;
    }
    const std::span<const Extent> run(extents.data() + begin, end - begin);
    const auto found = known.find(leaf_offset);
    const bool same =
        found != known.end() && std::equal(run.begin(), run.end(), found->second.second.begin(),
                                           found->second.second.end());
    const NodeRef node =
        same ? found->second.first
             : TRY(add_node([&](PageBuilder& b) { return b.add_extent_leaf(run); }));
    children.push_back({node, offset - leaf_offset});
    begin = end;
  }
  return children;
}

Result<NodeRef> TreeWriter::Impl::add_extent_tree(std::vector<ExtentChild> level) {
  while (level.size() > 1) {
    std::vector<ExtentChild> above;
    for (std::size_t begin = 0; begin < level.size(); begin += kMaxChildren) {
      const std::size_t count = std::min(kMaxChildren, level.size() - begin);
      const std::span<ExtentChild> run(level.data() + begin, count);
      std::uint64_t length = 0;
      for (ExtentChild& child : run) {
        resolve(child.node);
        length += child.length;
      }
      const NodeRef node = TRY(add_node([&](PageBuilder& b) { return b.add_extent_index(run); }));
      above.push_back({node, length});
    }
    level = std::move(above);
  }
  return level.front().node;
}

Result<void> TreeWriter::add_extents(Entry& file, std::vector<Extent> extents, const Entry* parent,
                                     TreeReader* parent_reader) {
  file.extents.clear();
  file.inline_bytes.clear();
  extents = split_long(std::move(extents));
  if (extents.empty()) {
    file.content = Entry::Content::none;
  } else if (extents.size() <= kMaxInlineExtents) {
    file.content = Entry::Content::extents;
    file.extents = std::move(extents);
  } else {
    auto leaves = TRY(impl_->add_extent_leaves(extents, parent, parent_reader));
    file.content = Entry::Content::extent_node;
    file.node = TRY(impl_->add_extent_tree(std::move(leaves)));
  }
  return {};
}

Result<NodeRef> TreeWriter::Impl::add_split(std::span<const Entry> entries,
                                            std::span<const KnownLeaf> known) {
  std::vector<DirectoryChild> level;
  std::size_t next_known = 0;
  for (std::size_t begin = 0; begin < entries.size();) {
    std::size_t end = begin;
    std::size_t weight = 0;
    while (end < entries.size()) {
      const Entry& entry = entries[end++];
      weight += entry_weight(entry);
      if (weight >= kLeafSplit) break;
      if (weight >= kLeafMin && cuts_after(entry.name, kLeafCutMask)) break;
    }
    while (next_known < known.size() && known[next_known].begin < begin) ++next_known;
    const bool reuse = next_known < known.size() && known[next_known].begin == begin &&
                       known[next_known].count == end - begin && may_refer(known[next_known].node);
    const NodeRef node =
        reuse ? known[next_known].node : TRY(add_leaf(entries.subspan(begin, end - begin)));
    level.push_back({entries[begin].name, node, end - begin});
    begin = end;
  }
  while (level.size() > 1) {
    std::vector<DirectoryChild> above;
    for (std::size_t begin = 0; begin < level.size();) {
      std::size_t end = begin;
      std::uint64_t total = 0;
      while (end < level.size() && end - begin < kMaxChildren) {
        DirectoryChild& child = level[end++];
        resolve(child.node);
        total += child.entries;
        // The leaf mask has decided on these bits: take others, so that half the runs are cut.
        if (end - begin >= kMaxChildren / 4 && cuts_after(child.first_name, 0x1f00)) break;
      }
      const std::span<const DirectoryChild> run(level.data() + begin, end - begin);
      const NodeRef node =
          TRY(add_node([&](PageBuilder& b) { return b.add_directory_index(run); }));
      above.push_back({level[begin].first_name, node, total});
      begin = end;
    }
    level = std::move(above);
  }
  return level.front().node;
}

Result<void> TreeWriter::add_directory(Entry& directory, std::span<const Entry> entries,
                                       std::span<const KnownLeaf> known) {
  TRY(check_entries(entries));
  std::size_t weight = 0;
  directory.content = Entry::Content::directory;
  directory.entries = entries.size();
  directory.subtree_files = 0;
  directory.subtree_bytes = 0;
  for (const Entry& entry : entries) {
    weight += entry_weight(entry);
    if (entry.is_directory()) {
      directory.subtree_files += entry.subtree_files;
      directory.subtree_bytes += entry.subtree_bytes;
    } else {
      directory.subtree_files += 1;
      if (entry.type == FileType::regular) directory.subtree_bytes += entry.size;
    }
  }
  directory.node = weight > kLeafSplit ? TRY(impl_->add_split(entries, known)) : TRY(impl_->add_leaf(entries));
  return {};
}

Result<void> TreeWriter::finish(std::span<Entry* const> roots) {
  TRY(impl_->close_page());
  for (Entry* root : roots) impl_->resolve_entry(*root);
  return {};
}

}  // namespace bygone::store
