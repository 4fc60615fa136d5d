// SPDX-License-Identifier: Apache-2.0
#include "ingest/layer.h"

#include <algorithm>
#include <string_view>

#include <sys/xattr.h>

namespace bygone::ingest {
namespace {

// Mounted by root, and by an engine without it (mount option userxattr).
constexpr std::string_view kPrefixes[] = {"trusted.overlay.", "user.overlay."};

}  // namespace

bool is_deletion(const store::Entry& entry) {
  return entry.type == store::FileType::char_device && entry.device == 0;
}

bool hides_image(const Fd& folder) {
  for (const std::string_view prefix : kPrefixes) {
    char value = 0;
    const std::string name = std::string(prefix) + "opaque";
    if (::fgetxattr(folder.get(), name.c_str(), &value, 1) == 1 && value == 'y') return true;
  }
  return false;
}

Result<void> take_overlay_attributes(std::vector<store::Xattr>& xattrs) {
  bool elsewhere = false;
  const auto is_own = [&](const store::Xattr& xattr) {
    const std::string_view name = xattr.name;
    for (const std::string_view prefix : kPrefixes) {
      if (!name.starts_with(prefix)) continue;
      const std::string_view mark = name.substr(prefix.size());
      if (mark == "metacopy" || mark == "redirect") elsewhere = true;
      return true;
    }
    return false;
  };
  xattrs.erase(std::remove_if(xattrs.begin(), xattrs.end(), is_own), xattrs.end());
  if (!elsewhere) return {};
  return Error{Code::unsupported, 0,
               "it was only renamed or its metadata changed: its content is in the image"};
}

}  // namespace bygone::ingest
