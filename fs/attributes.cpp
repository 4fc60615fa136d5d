// SPDX-License-Identifier: Apache-2.0
#include "fs/attributes.h"

#include "store/base/codec.h"

namespace bygone::fs {
namespace {

using store::Entry;

// First byte of what is hashed: keeps the forms apart.
enum class Form : std::uint8_t { file = 1, linked = 2, directory = 3, made = 4 };

constexpr std::uint64_t kNominalDirectorySize = 4096;

std::uint64_t cut(std::uint64_t hash) {
  const std::uint64_t ino = hash & ((std::uint64_t{1} << 62) - 1);
  return ino == 0 ? 1 : ino;
}

void put_content(Writer& out, const Entry& entry) {
  out.u64(entry.size);
  out.u8(static_cast<std::uint8_t>(entry.content));
  out.u64(entry.device);
  out.string(std::string_view(entry.target));
  out.string(ByteView(entry.inline_bytes));
  out.varint(entry.extents.size());
  for (const store::Extent& extent : entry.extents) {
    out.u8(static_cast<std::uint8_t>(extent.kind));
    out.u64(extent.length);
    out.u32(extent.offset);
    out.bytes(extent.chunk.view());
  }
  if (entry.content == Entry::Content::extent_node) {
    out.bytes(entry.node.page.view());
    out.u32(entry.node.node);
  }
}

}  // namespace

std::uint64_t inode_number(const store::KeyRing& keys, const TreeIdentity& tree, const Entry& entry,
                           std::uint64_t parent) {
  Writer out;
  const Form form = entry.is_directory() ? Form::directory
                    : entry.links > 1    ? Form::linked
                                         : Form::file;
  out.u8(static_cast<std::uint8_t>(form));
  out.bytes(tree.source.view());
  if (form != Form::file) out.bytes(tree.snapshot.view());
  out.string(tree.volume);
  out.u64(entry.inode);
  if (form == Form::linked) {
    // Two files may have had one number, the first until it was deleted while it was walked.
    out.u64(static_cast<std::uint64_t>(entry.ctime.seconds));
    out.u32(entry.ctime.nanoseconds);
    out.u64(entry.size);
  }
  if (form == Form::file) {
    out.u8(static_cast<std::uint8_t>(entry.type));
    put_content(out, entry);
  }
  if (entry.inode == 0) {
    out.u64(parent);
    out.string(std::string_view(entry.name));
  }
  return cut(keys.inode_hash(out.buffer()));
}

std::uint64_t inode_number(const store::KeyRing& keys, std::string_view made_key) {
  Writer out;
  out.u8(static_cast<std::uint8_t>(Form::made));
  out.string(made_key);
  return cut(keys.inode_hash(out.buffer()));
}

Attributes describe(const Entry& entry, std::uint64_t ino, std::uint64_t allocated) {
  Attributes out;
  out.ino = ino;
  out.type = entry.type;
  out.mode = entry.mode;
  out.links = entry.links == 0 ? 1 : entry.links;
  out.uid = entry.uid;
  out.gid = entry.gid;
  out.device = entry.device;
  out.size = entry.is_directory() ? kNominalDirectorySize : entry.size;
  out.allocated = entry.is_directory() ? kNominalDirectorySize : allocated;
  out.mtime = entry.mtime;
  out.ctime = entry.ctime;
  return out;
}

}  // namespace bygone::fs
