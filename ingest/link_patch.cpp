// SPDX-License-Identifier: Apache-2.0
#include "ingest/link_patch.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <utility>

namespace bygone::ingest {
namespace {

using store::Entry;

struct Changed {
  std::map<std::string, Entry> entries;  // by name: what stands there from now on
  std::map<std::string, Changed> folders;
};

class Patch {
 public:
  Patch(store::TreeReader& trees, store::TreeWriter& writer) : trees_(trees), writer_(writer) {}

  Result<std::optional<Entry>> find(const Entry& root, const std::string& path) {
    Entry at = root;
    for (std::size_t begin = 0; begin <= path.size();) {
      const std::size_t slash = std::min(path.find('/', begin), path.size());
      if (!at.is_directory()) return std::optional<Entry>();
      auto next = TRY(trees_.lookup(at, path.substr(begin, slash - begin)));
      if (!next) return std::optional<Entry>();
      at = std::move(*next);
      begin = slash + 1;
    }
    return std::optional<Entry>(std::move(at));
  }

  static void put(Changed& root, const std::string& path, Entry entry) {
    Changed* folder = &root;
    std::size_t begin = 0;
    for (std::size_t slash = 0; (slash = path.find('/', begin)) != std::string::npos;) {
      folder = &folder->folders[path.substr(begin, slash - begin)];
      begin = slash + 1;
    }
    entry.name = path.substr(begin);
    folder->entries[entry.name] = std::move(entry);
  }

  // `folder` with the changes in it and below it.
  Result<Entry> rewrite(Entry folder, Changed& changes) {
    if (!folder.is_directory()) {
      return Error{Code::invalid, 0, "a link stands in what is no folder"};
    }
    std::map<std::string, Entry> entries;
    std::map<std::string, int> leaf_of;
    const auto leaves = TRY(trees_.leaves(folder.node));
    std::vector<std::size_t> sizes;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      auto list = TRY(trees_.leaf(leaves[i].node));
      sizes.push_back(list.size());
      for (Entry& entry : list) {
        leaf_of[entry.name] = static_cast<int>(i);
        std::string name = entry.name;
        entries[std::move(name)] = std::move(entry);
      }
    }
    for (auto& [name, below] : changes.folders) {
      const auto found = entries.find(name);
      if (found == entries.end()) {
        return Error{Code::invalid, 0, "a link stands in a folder that is not there"};
      }
      found->second = TRY(rewrite(std::move(found->second), below));
      leaf_of.erase(name);
    }
    for (auto& [name, entry] : changes.entries) {
      entries[name] = std::move(entry);
      leaf_of.erase(name);
    }
    return write(std::move(folder), entries, leaf_of, leaves, sizes);
  }

 private:
  Result<Entry> write(Entry folder, std::map<std::string, Entry>& entries,
                      const std::map<std::string, int>& leaf_of,
                      const std::vector<store::LeafRef>& leaves,
                      const std::vector<std::size_t>& sizes) {
    std::vector<Entry> list;
    std::vector<int> from;
    for (auto& [name, entry] : entries) {
      const auto leaf = leaf_of.find(name);
      from.push_back(leaf == leaf_of.end() ? -1 : leaf->second);
      list.push_back(std::move(entry));
    }
    std::vector<store::KnownLeaf> known;
    for (std::size_t begin = 0; begin < list.size();) {
      std::size_t end = begin + 1;
      while (end < list.size() && from[end] == from[begin]) ++end;
      if (from[begin] >= 0) {
        const auto leaf = static_cast<std::size_t>(from[begin]);
        if (sizes[leaf] == end - begin) known.push_back({leaves[leaf].node, begin, end - begin});
      }
      begin = end;
    }
    TRY(writer_.add_directory(folder, list, known));
    return folder;
  }

  store::TreeReader& trees_;
  store::TreeWriter& writer_;
};

}  // namespace

Result<Entry> patch_links(store::TreeReader& trees, store::TreeWriter& writer, const Entry& root,
                          const LinkChanges& changes, std::vector<std::string>& lost) {
  Patch patch(trees, writer);
  Changed folders;
  for (const auto& [first, names] : changes) {
    auto entry = TRY(patch.find(root, first));
    if (!entry) {
      std::copy_if(names.begin(), names.end(), std::back_inserter(lost),
                   [&first = first](const std::string& name) { return name != first; });
      continue;
    }
    if (entry->is_directory()) {
      return Error{
          Code::invalid, 0,
          "the archive cannot be believed: the folder " + printable(first) + " has several names"};
    }
    entry->links = static_cast<std::uint32_t>(names.size());
    for (const std::string& name : names) Patch::put(folders, name, *entry);
  }
  if (folders.entries.empty() && folders.folders.empty()) return root;
  Entry patched = TRY(patch.rewrite(root, folders));
  Entry* resolve = &patched;
  TRY(writer.finish({&resolve, 1}));
  return patched;
}

}  // namespace bygone::ingest
