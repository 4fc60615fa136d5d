// SPDX-License-Identifier: Apache-2.0
//
// Puts right what an archive tells too late: that a file has several names. Rewrites the folders of
// a tree in which such names stand, and refers to all else as it is. One thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/tar_walk.h"
#include "store/tree_reader.h"
#include "store/tree_writer.h"

namespace bygone::ingest {

// Gives each name in `changes` the first one's content and metadata and the number of names as
// links, in the tree below `root`, which `trees` can read. The new root; `lost` takes the other
// names of what is not in the tree. Errors: those of the store; invalid for a name whose folder
// is not in the tree, or that is another name of something that can have only one.
Result<store::Entry> patch_links(store::TreeReader& trees, store::TreeWriter& writer,
                                 const store::Entry& root, const LinkChanges& changes,
                                 std::vector<std::string>& lost);

}  // namespace bygone::ingest
