// SPDX-License-Identifier: Apache-2.0
//
// The upper folder of an overlay, in which a container's changes to its image lie: what overlayfs
// writes there for itself is told from what the container wrote. A deletion is a character device
// 0/0 in the place of the deleted; a folder that was deleted and made anew is `opaque`; a file or
// folder may refer to the image for its content. Source: Documentation/filesystems/overlayfs.rst of
// Linux. Callable from any thread.
#pragma once

#include <string>
#include <vector>

#include "store/base/files.h"
#include "store/base/result.h"
#include "store/node.h"

namespace bygone::ingest {

// Whether an entry stands for something of the image that was deleted.
[[nodiscard]] bool is_deletion(const store::Entry& entry);
// Whether nothing of the image shows in an open folder. False when it cannot be told.
[[nodiscard]] bool hides_image(const Fd& folder);
// Takes the attributes off that are overlayfs's own. Errors: unsupported when they say that the
// content, or a part of it, is in the image alone.
Result<void> take_overlay_attributes(std::vector<store::Xattr>& xattrs);

}  // namespace bygone::ingest
