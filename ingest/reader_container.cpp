// SPDX-License-Identifier: Apache-2.0
#include "ingest/reader_container.h"

#include <charconv>
#include <utility>

#include <fmt/core.h>

#include "ingest/docker/json.h"
#include "store/base/clock.h"
#include "store/base/log.h"
#include "store/crypto.h"

namespace bygone::ingest {
namespace {

constexpr const char* kImageName = "bygone-reader";
constexpr const char* kImageTag = "1";
constexpr const char* kNamePrefix = "bygone-reader-";
constexpr std::int64_t kLeftOverSeconds = 172'800;  // no transfer takes so long
constexpr int kTries = 3;                           // another backup that ends takes the image away

std::string image() { return std::string(kImageName) + ":" + kImageTag; }

bool is_read_through_it(const VolumeSource& volume) {
  return volume.access == Access::engine && volume.kind != store::VolumeKind::layer;
}

// What is mounted below a bind is somebody else's: /proc, where all of the host is bound.
Result<std::string> mount_of(const VolumeSource& volume, std::size_t number) {
  const bool is_bind = volume.kind == store::VolumeKind::bind;
  return fmt::format(
      R"({{"Type":"{}","Source":{},"Target":"{}","ReadOnly":true,{}}})",
      is_bind ? "bind" : "volume", TRY(docker::json_text(volume.origin)),
      ReaderContainer::path(number),
      is_bind ? R"("BindOptions":{"NonRecursive":true})" : R"("VolumeOptions":{"NoCopy":true})");
}

Result<std::string> body_of(const std::vector<VolumeSource>& volumes) {
  std::string mounts;
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    if (!is_read_through_it(volumes[i])) continue;
    mounts += (mounts.empty() ? "" : ",") + TRY(mount_of(volumes[i], i));
  }
  return fmt::format(
      R"({{"Image":"{}","Cmd":["never started"],"Labels":{{"{}":"{}","bygone.enable":"false"}},)"
      R"("HostConfig":{{"NetworkMode":"none","Mounts":[{}]}}}})",
      image(), kReaderLabel, system_now() / kSecond, mounts);
}

// An engine makes a volume that a new container names and it does not have: the empty volume would
// stand in for data that is gone.
Result<void> check_there(docker::Engine& engine, const std::vector<VolumeSource>& volumes) {
  for (const VolumeSource& volume : volumes) {
    if (is_read_through_it(volume) && volume.kind != store::VolumeKind::bind) {
      TRY(engine.volume(volume.origin));
    }
  }
  return {};
}

// Removes what backups left that were killed. Only tidying up: whatever fails here fails nothing.
void remove_leftovers(docker::Engine& engine) {
  const auto all = engine.containers();
  if (!all) return;
  for (const docker::ContainerSummary& container : *all) {
    const auto label = container.labels.find(kReaderLabel);
    if (label == container.labels.end() || container.status != docker::Status::created ||
        !container.name.starts_with(kNamePrefix)) {
      continue;
    }
    std::int64_t made = 0;
    const char* end = label->second.data() + label->second.size();
    if (std::from_chars(label->second.data(), end, made).ec != std::errc()) continue;
    if (system_now() / kSecond - made < kLeftOverSeconds) continue;
    ignore(engine.remove_container(container.id, docker::RemoveVolumes::no, docker::Force::no),
           "the next backup tries again");
  }
}

}  // namespace

std::string ReaderContainer::path(std::size_t volume) { return fmt::format("/v{}", volume); }

Result<std::unique_ptr<ReaderContainer>> ReaderContainer::make(
    docker::Engine& engine, const std::vector<VolumeSource>& volumes) {
  const std::string body = TRY(body_of(volumes));
  remove_leftovers(engine);
  const std::string name = kNamePrefix + store::random_id<store::RunId>().hex();
  TRY(check_there(engine, volumes));
  auto id = engine.create_container(name, body);
  for (int attempt = 1; !id && id.error().code == Code::not_found && attempt < kTries; ++attempt) {
    TRY(engine.import_empty_image(kImageName, kImageTag));
    TRY(check_there(engine, volumes));
    id = engine.create_container(name, body);
  }
  if (!id) return std::move(id).error().with("making a container to read its volumes");
  return std::unique_ptr<ReaderContainer>(new ReaderContainer(engine, std::move(*id)));
}

ReaderContainer::~ReaderContainer() {
  // Never with volumes: they are not ours.
  const auto removed = engine_.remove_container(id_, docker::RemoveVolumes::no, docker::Force::no);
  if (!removed && removed.error().code != Code::not_found) {
    log::warning("the container " + printable(id_) + " is left over: " + removed.error().message +
                 "; hint: docker rm it");
  }
  // Another backup's container needs it still: then it is that one's to remove.
  const auto image_removed = engine_.remove_image(image());
  if (!image_removed && image_removed.error().code != Code::not_found &&
      image_removed.error().code != Code::busy) {
    log::warning("the image " + image() + " is left over: " + image_removed.error().message);
  }
}

}  // namespace bygone::ingest
