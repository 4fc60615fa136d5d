// SPDX-License-Identifier: Apache-2.0
//
// The passes over a volume that only its engine can see: each is a transfer of all of it, and what
// is stored is what differs. Times are never believed: the content comes anyway, and is compared.
// One thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/limiter.h"
#include "ingest/pass.h"
#include "ingest/tar_walk.h"
#include "ingest/tree_stream.h"

namespace bygone::ingest {

class TarPass final : public Pass {
 public:
  // Begins the transfer of all of the volume; what it finds that is no entry goes to `notes`, which
  // outlive it. `limiter` may be null.
  using Open = std::function<std::unique_ptr<EngineTree>(Limiter* limiter, WalkNotes& notes)>;
  // `context` must outlive the pass.
  TarPass(PassContext& context, Open open, PassVolume volume)
      : context_(context), open_(std::move(open)), volume_(std::move(volume)) {}

  // A transfer that ends too early, which a file that shrinks meanwhile is enough for, is tried
  // again.
  Result<store::Entry> read(const std::optional<store::Entry>& parent) override;
  Result<void> sync() override { return {}; }
  // A transfer sends all of it, and capture() needs one of its own.
  Result<void> look_ahead(const store::Entry&) override { return {}; }
  Result<void> capture(const store::Entry& hot) override;
  [[nodiscard]] bool has_ended_early() const override { return ended_early_; }
  Result<store::Entry> store_captured() override;
  [[nodiscard]] const WalkNotes& notes() const override { return notes_; }
  [[nodiscard]] std::chrono::nanoseconds least_capture_time() const override {
    return transfer_time_;
  }

 private:
  Result<store::Entry> read_once(const std::optional<store::Entry>& parent);
  Result<void> take(FileReader& reader, FileWork& work, TreeStream& stream);
  Result<void> take_small(FileReader& reader, FileWork& work, TreeStream& stream);
  Result<void> take_large(FileWork& work, TreeStream& stream);
  Result<void> compare(FileWork& work, TreeStream& stream);
  Result<void> capture_all(const store::Entry& hot);
  Result<store::Entry> patch(store::Entry root);
  [[nodiscard]] FileReaderOptions reader_options() const;

  PassContext& context_;
  Open open_;
  PassVolume volume_;
  WalkNotes notes_;
  WalkNotes captured_notes_;
  std::shared_ptr<store::DeltaTrials> trials_ = std::make_shared<store::DeltaTrials>(16);
  std::vector<Item> captured_;
  LinkChanges links_;
  std::chrono::nanoseconds transfer_time_{0};
  bool ended_early_ = false;  // the last transfer
};

}  // namespace bygone::ingest
