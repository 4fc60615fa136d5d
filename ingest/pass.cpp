// SPDX-License-Identifier: Apache-2.0
#include "ingest/pass.h"

namespace bygone::ingest {

Result<store::Entry> store_items(PassContext& context, const PassVolume& volume, FileReader& reader,
                                 ReaderPool::Mode mode, std::vector<Item> items,
                                 std::vector<std::pair<std::string, std::string>>& unreadable) {
  PipelineCounts counts;  // the hot pass has shown its progress
  Pipeline pipeline(context.session, context.writer, context.trees, reader, context.jobs, counts,
                    {.mode = mode, .volume_tag = volume.tag, .readers = 4, .liveness = nullptr});
  bool going = true;
  for (Item& item : items) {
    going = pipeline.push(std::move(item)) && !context.cancel.load();
    if (!going) break;
  }
  if (!going) pipeline.abandon();
  auto root = pipeline.finish();
  unreadable.insert(unreadable.end(), pipeline.unreadable().begin(), pipeline.unreadable().end());
  if (context.cancel.load()) return Error{Code::cancelled, 0, "cancelled"};
  return root;
}

}  // namespace bygone::ingest
