// SPDX-License-Identifier: Apache-2.0
//
// What all threads of one restore share: where from, how, what happened so far. Internal to
// fs/restore*. Callable from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "fs/restore.h"
#include "fs/restore_folder.h"
#include "fs/restore_meta.h"

namespace bygone::fs {

// A non-folder of the snapshot on its way into a folder of the target.
struct Item {
  FolderPtr folder;
  store::Entry entry;
  std::uint64_t number = 0;  // in the order of the walk
};

struct Job {
  Job(store::TreeReader& tree_reader, store::ChunkSource& chunk_source,
      const RestoreOptions& restore_options, const RestoreEvents& restore_events,
      RestoreProgress& restore_progress, const std::atomic<bool>& cancel_flag)
      : trees(tree_reader),
        chunks(chunk_source),
        options(restore_options),
        progress(restore_progress),
        cancel(cancel_flag),
        limits([this](const std::string& text) { limited(text); }),
        events_(restore_events) {}

  store::TreeReader& trees;
  store::ChunkSource& chunks;
  const RestoreOptions& options;
  RestoreProgress& progress;
  const std::atomic<bool>& cancel;
  Limits limits;
  RestoreSummary summary;               // written under the mutex of the calls below
  std::atomic<std::uint64_t> bytes{0};  // written to files, holes included

  void acted(RestoreAction action, const std::string& path);
  void failed(const std::string& path, const Error& error);
  // Marks the walk's `number` as not for verification: it was kept as it is, or has failed.
  void skip_verify(std::uint64_t number);
  [[nodiscard]] bool skips_verify(std::uint64_t number) const;
  void verified_one();

 private:
  void limited(const std::string& text);

  const RestoreEvents& events_;
  mutable std::mutex mutex_;
  std::vector<bool> skipped_;
};

// Reads back what was restored and compares it; differences go to job.failed. Walks as restore()
// did, so that the numbers agree. Errors: cancelled; the target's own.
[[nodiscard]] Result<void> verify_restored(Job& job, const std::vector<RestoreRoot>& roots,
                                           const std::string& target);

// How many threads `options` asks for.
[[nodiscard]] unsigned thread_count(const RestoreOptions& options);

// The roots as the entries of the target; nothing when the only root is the target itself.
[[nodiscard]] std::vector<store::Entry> named_roots(const std::vector<RestoreRoot>& roots);
[[nodiscard]] bool is_target_itself(const std::vector<RestoreRoot>& roots);

}  // namespace bygone::fs
