// SPDX-License-Identifier: Apache-2.0
//
// How each volume of a source is read, as a part of source_backup.h.
#include <memory>
#include <utility>

#include "ingest/archive_tree.h"
#include "ingest/layer_stream.h"
#include "ingest/source_backup.h"
#include "ingest/tar_pass.h"
#include "ingest/volume_pass.h"

namespace bygone::ingest {

std::string SourceBackup::called(const VolumeSource& volume) {
  return "volume " + printable(volume.destination.empty() ? volume.origin : volume.destination);
}

Result<void> SourceBackup::open_volumes(docker::Engine* engine) {
  for (std::size_t i = 0; i < source_.volumes.size(); ++i) {
    const VolumeSource& volume = source_.volumes[i];
    const bool is_layer = volume.kind == store::VolumeKind::layer;
    PassVolume told{.number = i,
                    .tag = session_.volume_tag(claimed_.id, volume.destination),
                    .tree = is_layer ? TreeKind::layer : TreeKind::plain,
                    .excludes = std::move(excludes_[i])};
    if (volume.access == Access::engine) {
      CHECK(engine != nullptr);
      auto open =
          is_layer ? open_layer(*engine, volume, told.excludes) : TRY(open_archive(*engine, i));
      passes_.push_back(std::make_unique<TarPass>(context_, std::move(open), std::move(told)));
      here_.push_back(nullptr);
      continue;
    }
    auto pass = VolumePass::open(context_, volume.host_path, std::move(told));
    if (!pass) return std::move(pass).error().with(called(volume));
    here_.push_back(pass->get());
    passes_.push_back(std::move(*pass));
  }
  return {};
}

Result<TarPass::Open> SourceBackup::open_archive(docker::Engine& engine, std::size_t number) {
  if (!reader_) reader_ = TRY(ReaderContainer::make(engine, source_.volumes));
  return TarPass::Open([this, number](Limiter* limiter, WalkNotes&) {
    return std::make_unique<ArchiveTree>(reader_->engine(), reader_->id(),
                                         ReaderContainer::path(number), limiter, context_.cancel);
  });
}

TarPass::Open SourceBackup::open_layer(docker::Engine& engine, const VolumeSource& volume,
                                       const Excludes& excludes) {
  const auto origin = std::make_shared<LayerOrigin>(LayerOrigin{
      .engine = engine,
      .container = source_.container_id,
      .destinations = {},
      .excludes = excludes,
      .cancel = context_.cancel,
      .over = let_go_,
  });
  for (const std::string& below : volume.nested) origin->destinations.push_back("/" + below);
  return [origin](Limiter* limiter, WalkNotes& notes) {
    return std::make_unique<LayerStream>(*origin, limiter, notes);
  };
}

}  // namespace bygone::ingest
