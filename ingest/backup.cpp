// SPDX-License-Identifier: Apache-2.0
#include "ingest/backup.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

#include "ingest/freeze.h"
#include "ingest/host_view.h"
#include "ingest/volume_pass.h"
#include "store/base/log.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Consistency;
using store::Entry;
using store::Snapshot;

constexpr std::size_t kPageCache = 16u << 20;
constexpr std::size_t kSpillMemory = 64u << 20;
constexpr auto kTick = std::chrono::milliseconds(200);

using OffLimits = std::map<std::pair<std::uint64_t, std::uint64_t>, std::string>;

OffLimits find_off_limits(const store::Repository& repository, const BackupOptions& options) {
  OffLimits found;
  auto folders = options.off_limits;
  folders.emplace_back(repository.path(), "the repository itself");
  for (const auto& [path, what] : folders) {
    struct stat st {};
    if (::stat(path.c_str(), &st) == 0) found.emplace(std::pair(st.st_dev, st.st_ino), what);
  }
  return found;
}

// Reports progress now and then from a thread of its own, until it is destroyed.
class Ticker {
 public:
  explicit Ticker(std::function<void()> tick) : tick_(std::move(tick)) {
    if (tick_) thread_ = std::thread([this] { run(); });
  }
  ~Ticker() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kTick, [&] { return stopping_; })) {
      lock.unlock();
      tick_();
      lock.lock();
    }
  }
  std::function<void()> tick_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

class Backup {
 public:
  Backup(store::Session& session, const Source& source, docker::Engine* engine,
         const BackupOptions& options, const ProgressCallback& progress,
         const std::atomic<bool>& cancel, store::ClaimedSource claimed, Excludes excludes)
      : session_(session),
        source_(source),
        engine_(engine),
        options_(options),
        progress_(progress),
        claimed_(std::move(claimed)),
        excludes_(std::move(excludes)),
        off_limits_(find_off_limits(session.repository(), options)),
        trees_(session, kPageCache),
        writer_(session.repository().keys(), session),
        jobs_(session, options.compression, std::max(1u, std::thread::hardware_concurrency())),
        spill_(session.repository().path() + "/tmp", kSpillMemory),
        context_{.session = session,
                 .writer = writer_,
                 .trees = trees_,
                 .jobs = jobs_,
                 .excludes = excludes_,
                 .off_limits = off_limits_,
                 .cancel = cancel,
                 .clock = options.clock,
                 .rescan = options.rescan,
                 .fingerprints = nullptr,
                 .spill = nullptr,
                 .limiter = options.limiter,
                 .liveness = nullptr,
                 .counts = {},
                 .files_seen = 0,
                 .bytes_seen = 0,
                 .bytes_read = 0} {}

  Result<BackupReport> run();
  // A container in a crash loop may run again at any moment.
  [[nodiscard]] bool can_be_written() const {
    return !source_.writers.empty() || !source_.restarting.empty();
  }
  [[nodiscard]] bool must_freeze() const {
    return can_be_written() && options_.quiesce != Quiesce::live;
  }

 private:
  Result<void> open_volumes();
  [[nodiscard]] std::optional<Entry> parent_root(const VolumeSource& volume) const;
  Result<void> count_live_pages();
  Result<void> read_volumes();
  Result<void> freeze_volumes();
  Result<bool> capture_frozen(Freezer& freezer);
  Result<void> gather_notes(std::size_t number);
  Result<void> write_extra();
  Result<Entry> add_file(const std::string& name, std::string_view content);
  void show(bool walk_finished);

  store::Session& session_;
  const Source& source_;
  docker::Engine* engine_;
  const BackupOptions& options_;
  const ProgressCallback& progress_;
  store::ClaimedSource claimed_;
  Excludes excludes_;
  OffLimits off_limits_;
  store::TreeReader trees_;
  store::TreeWriter writer_;
  ChunkJobs jobs_;
  Fingerprints fingerprints_;
  SealedSpill spill_;
  std::optional<store::PageLiveness> liveness_;
  PassContext context_;
  std::vector<std::unique_ptr<VolumePass>> passes_;
  std::vector<Entry> roots_;
  std::atomic<bool> walk_finished_{false};
  std::mutex phase_mutex_;
  std::string phase_ = "reading";
  Snapshot snapshot_;
  BackupReport report_;
};

void Backup::show(bool walk_finished) {
  if (!progress_) return;
  BackupProgress now{.files_done = context_.counts.files,
                     .bytes_done = context_.counts.bytes,
                     .files_seen = context_.files_seen,
                     .bytes_seen = context_.bytes_seen,
                     .walk_finished = walk_finished,
                     .phase = {}};
  {
    const std::lock_guard lock(phase_mutex_);
    now.phase = phase_;
  }
  progress_(now);
}

Result<void> Backup::open_volumes() {
  for (std::size_t i = 0; i < source_.volumes.size(); ++i) {
    const VolumeSource& volume = source_.volumes[i];
    auto pass = VolumePass::open(context_, volume.host_path, i,
                                 session_.volume_tag(claimed_.id, volume.destination));
    if (!pass) {
      return std::move(pass).error().with(
          "volume " + printable(volume.destination.empty() ? volume.origin : volume.destination));
    }
    passes_.push_back(std::move(*pass));
  }
  return {};
}

// Volumes match by destination: anonymous ones change their names.
std::optional<Entry> Backup::parent_root(const VolumeSource& volume) const {
  if (!claimed_.parent) return std::nullopt;
  for (const store::Volume& before : claimed_.parent->volumes) {
    if (before.destination == volume.destination) return before.root;
  }
  return std::nullopt;
}

Result<void> Backup::gather_notes(std::size_t number) {
  const VolumeSource& volume = source_.volumes[number];
  const WalkNotes& notes = passes_[number]->notes();
  const auto path = [&](const std::string& below) {
    return volume.name.empty() ? below : volume.name + "/" + below;
  };
  for (const auto& [below, reason] : notes.unreadable) {
    report_.unreadable.push_back({path(below), reason});
  }
  for (const std::string& skipped : notes.skipped) report_.skipped.push_back(path(skipped));
  snapshot_.folders += notes.folders;
  return {};
}

// Once a day: what lies in pages that are mostly dead is written anew .
Result<void> Backup::count_live_pages() {
  constexpr Nanoseconds kDay = 86'400 * kSecond;
  if (!claimed_.parent || claimed_.parent->instant / kDay >= snapshot_.started / kDay) return {};
  std::vector<Entry> roots;
  for (const VolumeSource& volume : source_.volumes) {
    if (auto root = parent_root(volume)) roots.push_back(std::move(*root));
  }
  liveness_ = TRY(store::PageLiveness::count(trees_, roots, context_.cancel));
  if (liveness_->thin_pages() == 0) return {};
  log::info("writing the live part of " + std::to_string(liveness_->thin_pages()) +
            " thin pages anew");
  context_.liveness = &*liveness_;
  writer_.leave_thin_pages(&*liveness_);
  return {};
}

Result<void> Backup::read_volumes() {
  for (std::size_t i = 0; i < passes_.size(); ++i) {
    roots_.push_back(TRY(passes_[i]->read(parent_root(source_.volumes[i]))));
    report_.new_files += passes_[i]->notes().new_files;
    report_.unmodified_files += passes_[i]->notes().unmodified_files;
    if (!must_freeze()) TRY(gather_notes(i));
  }
  return {};
}

// Walks and captures all volumes while their writers stand still. False when the deadline passed:
// the writers run again, and the capture went on beside them.
Result<bool> Backup::capture_frozen(Freezer& freezer) {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  Result<void> captured;
  const auto deadline = std::chrono::steady_clock::now() + options_.max_freeze;
  auto members = source_.writers;
  members.insert(members.end(), source_.restarting.begin(), source_.restarting.end());
  auto frozen = freezer.freeze(members, options_.max_freeze);
  if (!frozen) {
    if (options_.quiesce == Quiesce::freeze) return std::move(frozen).error();
    report_.warnings.push_back(frozen.error().message + ": captured live");
  }
  std::thread worker([&] {
    Result<void> result;
    for (std::size_t i = 0; i < passes_.size() && result.ok(); ++i) {
      result = passes_[i]->capture(roots_[i]);
    }
    const std::lock_guard lock(mutex);
    captured = std::move(result);
    done = true;
    changed.notify_all();
  });
  bool in_time = false;
  {
    std::unique_lock lock(mutex);
    in_time = changed.wait_until(lock, deadline, [&] { return done; });
  }
  auto thawed = freezer.thaw();
  worker.join();
  TRY(std::move(captured));
  const bool undisturbed = TRY(std::move(thawed));
  if (!in_time) {
    report_.warnings.push_back("the freeze passed its limit of " +
                               std::to_string(options_.max_freeze.count()) +
                               " ms and was ended: captured live");
  } else if (!undisturbed) {
    report_.warnings.push_back("something from outside resumed a frozen container: captured live");
  }
  return frozen.ok() && in_time && undisturbed;
}

Result<void> Backup::freeze_volumes() {
  for (const auto& pass : passes_) TRY(pass->sync());
  Freezer freezer(*engine_, options_.state_folder, options_.clock);
  {
    const std::lock_guard lock(phase_mutex_);
    phase_ = "frozen";
  }
  context_.spill = &spill_;
  auto held = capture_frozen(freezer);
  {
    const std::lock_guard lock(phase_mutex_);
    phase_ = "storing";
  }
  if (!held) return std::move(held).error();
  if (!*held && options_.quiesce == Quiesce::freeze) {
    return Error{Code::io, 0,
                 report_.warnings.back() +
                     "; hint: allow more with --max-freeze, or accept it with --consistency live"};
  }
  snapshot_.consistency = *held ? Consistency::freeze : Consistency::live;
  snapshot_.instant = freezer.frozen_at() != 0 ? freezer.frozen_at() : options_.clock();
  if (*held) {
    snapshot_.window = freezer.window();
    snapshot_.skew = freezer.skew();
  }
  for (std::size_t i = 0; i < passes_.size(); ++i) {
    roots_[i] = TRY(passes_[i]->store_captured());
    TRY(gather_notes(i));
  }
  return {};
}

Result<Entry> Backup::add_file(const std::string& name, std::string_view content) {
  Entry entry;
  entry.name = name;
  entry.mode = 0600;
  entry.size = content.size();
  entry.mtime = {.seconds = snapshot_.instant / kSecond,
                 .nanoseconds = static_cast<std::uint32_t>(snapshot_.instant % kSecond)};
  entry.ctime = entry.mtime;
  ContentCutter cutter(session_.repository().keys(), jobs_, session_.volume_tag(claimed_.id, "."),
                       content.size());
  cutter.append(as_bytes(content));
  std::vector<store::Extent> extents;
  for (const Piece& piece : cutter.finish()) {
    extents.push_back(piece.extent);
    if (piece.pending) extents.back().chunk = piece.pending->wait();
  }
  if (auto failure = jobs_.failure()) return *failure;
  TRY(writer_.add_extents(entry, std::move(extents), nullptr, nullptr));
  return entry;
}

// The second tree: what the container was, and what could not be read.
Result<void> Backup::write_extra() {
  std::vector<Entry> entries;
  if (!source_.container_json.empty()) {
    entries.push_back(TRY(add_file("container.json", source_.container_json)));
  }
  if (!report_.unreadable.empty()) {
    std::string text;
    for (const Unreadable& each : report_.unreadable) {
      text += printable(each.path) + ": " + each.reason + "\n";
    }
    entries.push_back(TRY(add_file("errors", text)));
  }
  if (entries.empty()) return {};
  Entry root;
  root.type = store::FileType::directory;
  root.mode = 0700;
  root.mtime = entries.front().mtime;
  root.ctime = root.mtime;
  TRY(writer_.add_directory(root, entries));
  Entry* resolve = &root;
  TRY(writer_.finish({&resolve, 1}));
  snapshot_.extra = std::move(root);
  return {};
}

Result<BackupReport> Backup::run() {
  snapshot_.kind = source_.kind;
  snapshot_.name = source_.name;
  snapshot_.host_id = source_.host_id;
  snapshot_.host = source_.host;
  snapshot_.zone = options_.zone;
  snapshot_.tags = options_.tags;
  snapshot_.program = std::string("bygone ") + BYGONE_VERSION;
  snapshot_.started = options_.clock();
  snapshot_.instant = snapshot_.started;
  const bool may_change = source_.kind == store::SourceKind::folder || can_be_written();
  snapshot_.consistency = may_change ? Consistency::live : Consistency::idle;
  report_.skipped = source_.skipped;
  TRY(open_volumes());
  {
    const Ticker ticker(progress_ ? [this] { show(walk_finished_); } : std::function<void()>());
    if (must_freeze()) context_.fingerprints = &fingerprints_;
    TRY(count_live_pages());
    TRY(read_volumes());
    walk_finished_ = true;
    if (must_freeze()) TRY(freeze_volumes());
    TRY(write_extra());
  }
  show(true);
  for (std::size_t i = 0; i < roots_.size(); ++i) {
    const VolumeSource& volume = source_.volumes[i];
    snapshot_.volumes.push_back({.name = volume.name,
                                 .destination = volume.destination,
                                 .origin = volume.origin,
                                 .kind = volume.kind,
                                 .root = roots_[i]});
    const Entry& root = roots_[i];
    snapshot_.files += root.is_directory() ? root.subtree_files : 1;
    snapshot_.bytes += root.is_directory() ? root.subtree_bytes : root.size;
  }
  snapshot_.errors = report_.unreadable.size();
  snapshot_.partial = !report_.unreadable.empty();
  snapshot_.finished = options_.clock();
  if (context_.cancel.load()) return Error{Code::cancelled, 0, "cancelled"};
  report_.snapshot = TRY(session_.commit(claimed_, snapshot_));
  report_.changed_files = context_.counts.changed_files;
  report_.bytes_read = context_.bytes_read;
  return std::move(report_);
}

}  // namespace

std::string default_state_folder() {
  if (const char* folder = std::getenv("BYGONE_STATE_DIR"); folder != nullptr && *folder != '\0') {
    return folder;
  }
  if (::geteuid() == 0) return "/var/lib/bygone";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "/tmp") + "/.local/state/bygone";
}

Result<BackupReport> backup(store::Session& session, const Source& source, docker::Engine* engine,
                            const BackupOptions& options, const ProgressCallback& progress,
                            const std::atomic<bool>& cancel) {
  if (source.error) return *source.error;
  Excludes excludes = TRY(Excludes::parse(options.exclude));
  auto claimed = TRY(session.claim(source.kind, source.host_id, source.host, source.name));
  Backup backup(session, source, engine, options, progress, cancel, std::move(claimed),
                std::move(excludes));
  CHECK(engine != nullptr || !backup.must_freeze());
  return backup.run();
}

}  // namespace bygone::ingest
