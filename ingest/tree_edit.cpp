// SPDX-License-Identifier: Apache-2.0
#include "ingest/tree_edit.h"

#include <algorithm>
#include <utility>

#include "ingest/source_tree.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Entry;
using store::FileType;

bool is_below(const std::string& path, const std::string& folder) {
  return folder.empty() ||
         (path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/');
}

bool ends_with(const std::string& name, const std::string& suffix) {
  return !suffix.empty() && name.ends_with(suffix);
}

// The files of `edit` that stand in the folder `path` itself, by their names.
std::map<std::string, const std::string*> added_in(const TreeEdit& edit, const std::string& path) {
  std::map<std::string, const std::string*> found;
  for (const auto& [full, content] : edit.added) {
    const std::size_t slash = full.rfind('/');
    const std::string parent = slash == std::string::npos ? "" : full.substr(0, slash);
    if (parent == path) found[full.substr(slash == std::string::npos ? 0 : slash + 1)] = &content;
  }
  return found;
}

// A file that is made here: nobody has to read it.
Item new_file(const Entry& folder, const std::string& path, const std::string& name,
              const std::string& content, Nanoseconds now) {
  Item item;
  item.kind = Item::Kind::file;
  Entry& entry = item.entry;
  entry.name = name;
  entry.type = FileType::regular;
  entry.mode = 0600 | (folder.mode & 0040);
  entry.uid = folder.uid;
  entry.gid = folder.gid;
  entry.size = content.size();
  entry.links = 1;
  entry.mtime = store::to_timestamp(now);
  entry.ctime = entry.mtime;
  if (content.empty()) {
    item.kind = Item::Kind::entry;
    return item;
  }
  item.work = std::make_shared<FileWork>();
  item.work->name = name;
  item.work->path = path;
  item.work->entry = entry;
  item.work->content.assign(content.begin(), content.end());
  item.work->outcome = FileWork::Outcome::small;
  item.work->queued = true;
  item.work->read_done.store(true);
  return item;
}

}  // namespace

bool TreeEdit::touches(const std::string& path) const {
  const auto at = [&](const std::string& other) { return other == path || is_below(other, path); };
  return std::any_of(left_out.begin(), left_out.end(), at) ||
         std::any_of(emptied.begin(), emptied.end(), at) ||
         std::any_of(added.begin(), added.end(),
                     [&](const auto& file) { return at(file.first); }) ||
         (reread && at(reread->folder));
}

Result<void> TreeEditor::folder(const Entry& hot, const std::string& path, int leaf) {
  if (edit_.reread && edit_.reread->folder == path) return fresh_folder(hot, path);
  Item enter;
  enter.kind = Item::Kind::enter;
  enter.entry = hot;
  enter.leaf = leaf;
  enter.parent = hot;
  enter.leaves = TRY(trees_.leaves(hot.node));
  std::vector<std::pair<Entry, int>> entries;
  for (std::size_t i = 0; i < enter.leaves.size(); ++i) {
    auto in_leaf = TRY(trees_.leaf(enter.leaves[i].node));
    enter.leaves[i].entries = in_leaf.size();
    for (Entry& entry : in_leaf) entries.emplace_back(std::move(entry), static_cast<int>(i));
  }
  items_.push_back(std::move(enter));
  if (edit_.emptied.count(path) > 0) entries.clear();
  const auto added = added_in(edit_, path);
  auto next = added.begin();
  const auto add_until = [&](const std::string* name) {
    for (; next != added.end() && (name == nullptr || next->first <= *name); ++next) {
      items_.push_back(
          new_file(hot, join_path(path, next->first), next->first, *next->second, now_));
    }
  };
  for (auto& [entry, in_leaf] : entries) {
    const std::string below = join_path(path, entry.name);
    add_until(&entry.name);
    if (edit_.left_out.count(below) > 0 || added.count(entry.name) > 0) continue;
    if (entry.is_directory() && edit_.touches(below)) {
      TRY(folder(entry, below, in_leaf));
      continue;
    }
    Item item;
    item.entry = std::move(entry);
    item.leaf = in_leaf;
    items_.push_back(std::move(item));
  }
  add_until(nullptr);
  Item leave;
  leave.kind = Item::Kind::leave;
  items_.push_back(std::move(leave));
  return {};
}

// From the source, as it is now: what was read of it before is of no use.
Result<void> TreeEditor::fresh_folder(const Entry& hot, const std::string& path) {
  reread_found_ = true;
  const Folder fd = std::make_shared<const Fd>(TRY(open_folder(root_, path.empty() ? "." : path)));
  Item enter;
  enter.kind = Item::Kind::enter;
  enter.entry = TRY(look_at(*fd))
  .entry;
  enter.entry.name = hot.name;
  enter.entry.xattrs = TRY(read_xattrs(*fd, TreeKind::plain));
  items_.push_back(std::move(enter));
  std::size_t found = 0;
  for (const Listed& listed : TRY(list_folder(*fd)).entries) {
    found += edit_.reread->needed.count(listed.entry.name);
    TRY(fresh_entry(fd, path, listed));
  }
  if (found != edit_.reread->needed.size()) {
    return Error{Code::not_found, 0,
                 "/" + printable(path) + ": what is needed of it is there no more"};
  }
  Item leave;
  leave.kind = Item::Kind::leave;
  items_.push_back(std::move(leave));
  return {};
}

Result<void> TreeEditor::fresh_entry(const Folder& fd, const std::string& path,
                                     const Listed& listed) {
  const std::string& name = listed.entry.name;
  Item item;
  item.entry = listed.entry;
  if (listed.entry.is_directory()) {
    item.kind = Item::Kind::enter;
    item.entry.xattrs = TRY(read_xattrs_at(*fd, name, TreeKind::plain));
    items_.push_back(std::move(item));
    for (const auto& [file, content] : added_in(edit_, join_path(path, name))) {
      items_.push_back(
          new_file(listed.entry, join_path(join_path(path, name), file), file, *content, now_));
    }
    Item leave;
    leave.kind = Item::Kind::leave;
    items_.push_back(std::move(leave));
    return {};
  }
  const bool needed = edit_.reread->needed.count(name) > 0;
  if (listed.entry.type != FileType::regular ||
      (!needed && !ends_with(name, edit_.reread->also_suffix))) {
    return {};
  }
  item.kind = Item::Kind::file;
  item.work = std::make_shared<FileWork>();
  item.work->name = name;
  item.work->path = join_path(path, name);
  item.work->folder = fd;
  item.work->entry = listed.entry;
  item.work->large = listed.entry.size >= store::kSmallFile;
  if (needed) reread_.push_back(item.work);
  items_.push_back(std::move(item));
  return {};
}

Result<std::vector<Item>> TreeEditor::items(const Entry& hot) {
  items_.clear();
  reread_.clear();
  reread_found_ = false;
  TRY(folder(hot, "", -1));
  if (edit_.reread && !reread_found_) {
    return Error{Code::not_found, 0, "/" + printable(edit_.reread->folder) + " was left out"};
  }
  return std::move(items_);
}

// A file that was renamed and written anew while it was read has its old name, or its old inode, no
// more.
Result<void> TreeEditor::check() const {
  if (!edit_.reread) return {};
  const std::string& path = edit_.reread->folder;
  const Fd fd = TRY(open_folder(root_, path.empty() ? "." : path));
  std::map<std::string, std::uint64_t> inodes;
  for (const Listed& listed : TRY(list_folder(fd)).entries) {
    inodes[listed.entry.name] = listed.entry.inode;
  }
  for (const auto& work : reread_) {
    const bool read =
        work->outcome != FileWork::Outcome::gone && work->outcome != FileWork::Outcome::unreadable;
    const auto now = inodes.find(work->name);
    if (read && now != inodes.end() && now->second == work->entry.inode) continue;
    return Error{Code::io, 0, "/" + printable(work->path) + " went while it was read"};
  }
  return {};
}

}  // namespace bygone::ingest
