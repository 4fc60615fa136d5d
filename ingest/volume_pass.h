// SPDX-License-Identifier: Apache-2.0
//
// The passes over a volume that is on this host: scanner, walk and pipeline put together; and
// amend(), which changes what a hot pass stored, instead of a capture. One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/pass.h"
#include "ingest/pipeline.h"
#include "ingest/tree_edit.h"

namespace bygone::ingest {

struct VolumeCopy;

class VolumePass final : public Pass {
 public:
  // Errors: when the volume's root cannot be opened,
  // or lies where nothing may be read.
  static Result<std::unique_ptr<VolumePass>> open(PassContext& context, const std::string& path,
                                                  PassVolume volume);

  // A pass over the same volume as it was at `time`, which `copy` is of; for read() alone.
  Result<std::unique_ptr<VolumePass>> of_copy(VolumeCopy copy, Nanoseconds time) const;

  Result<store::Entry> read(const std::optional<store::Entry>& parent) override;
  Result<void> sync() override;
  Result<void> look_ahead(const store::Entry& hot) override;
  Result<void> capture(const store::Entry& hot) override;
  Result<store::Entry> store_captured() override;
  [[nodiscard]] const WalkNotes& notes() const override { return notes_; }

  // Whether nothing has changed since the hot pass, as far as times tell. Paced like read().
  Result<bool> is_unchanged(const store::Entry& hot);
  // Stores `hot` with changes (tree_edit.h). Errors: io and not_found when what the edit needs was
  // not there; cancelled; those of the store.
  Result<store::Entry> amend(const store::Entry& hot, const TreeEdit& edit);

  // The open root, of which what stands below it can be opened.
  [[nodiscard]] const Fd& fd() const { return fd_; }
  // Its path, without symbolic links.
  [[nodiscard]] const std::string& path() const { return path_; }
  // Of a copy: a folder in which a subvolume was that the copy does not have; empty for none.
  [[nodiscard]] const std::string& lost_subvolume() const { return lost_subvolume_; }

 private:
  VolumePass(PassContext& context, std::string path, PassVolume volume, Fd fd, Listed root)
      : context_(context),
        path_(std::move(path)),
        volume_(std::move(volume)),
        fd_(std::move(fd)),
        root_(std::move(root)) {}
  enum class Shown { no, yes };  // as progress: once is enough
  Result<void> walk(const std::optional<store::Entry>& parent, WalkOptions options,
                    const std::function<bool(Item&&)>& emit, Shown shown);
  Result<Item> single_file(const std::optional<store::Entry>& parent);
  Result<void> walk_changed(const store::Entry& hot, ReaderPool::Mode mode,
                            const std::function<void(Item&&)>& take);
  FileReaderOptions reader_options() const;
  [[nodiscard]] std::optional<std::string> why_left_out(const Listed& listed) const;
  // Now, or when the content stood still.
  [[nodiscard]] Clock clock() const;

  PassContext& context_;
  std::string path_;
  PassVolume volume_;
  Fd fd_;
  Listed root_;
  Folder folder_;  // of a copy of a file: the one that holds it
  WalkNotes notes_;
  std::string lost_subvolume_;
  std::vector<Item> captured_;
  WalkNotes captured_notes_;
};

}  // namespace bygone::ingest
