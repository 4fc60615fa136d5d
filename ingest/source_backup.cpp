// SPDX-License-Identifier: Apache-2.0
#include "ingest/source_backup.h"

#include <algorithm>

#include <sys/stat.h>

#include "ingest/dump_run.h"
#include "ingest/usable_memory.h"
#include "ingest/volume_pass.h"
#include "store/base/log.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Consistency;
using store::Entry;

// Shared by the backups of a group.
constexpr std::size_t kPageCache = 16u << 20;
constexpr std::size_t kLeastPageCache = 4u << 20;
constexpr std::size_t kSpillMemory = 64u << 20;

// Compressors that the backups of a group may have with the better search, some 3 MiB each.
constexpr std::size_t kMostThorough = 32;

unsigned threads() { return std::max(1u, std::thread::hardware_concurrency()); }

std::shared_ptr<store::Effort> effort_of(std::size_t share) {
  return share * threads() <= std::max<std::size_t>(kMostThorough, threads())
             ? std::make_shared<store::Effort>()
             : nullptr;
}

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

}  // namespace

SourceBackup::SourceBackup(store::Session& session, const Source& source,
                           const BackupOptions& options, ProgressCallback progress,
                           const std::atomic<bool>& cancel, store::ClaimedSource claimed,
                           std::vector<Excludes> excludes, std::size_t share)
    : session_(session),
      source_(source),
      options_(options),
      progress_(std::move(progress)),
      claimed_(std::move(claimed)),
      excludes_(std::move(excludes)),
      off_limits_(find_off_limits(session.repository(), options)),
      trees_(session, std::max(kLeastPageCache, kPageCache / share)),
      writer_(session.repository().keys(), session),
      jobs_(session, options.compression, threads(), options.limiter, effort_of(share)),
      fingerprints_(Fingerprints::memory_for(usable_memory(), share)),
      spill_(session.repository().path() + "/tmp", kSpillMemory / share),
      context_{.session = session,
               .writer = writer_,
               .trees = trees_,
               .jobs = jobs_,
               .off_limits = off_limits_,
               .cancel = cancel,
               .clock = options.clock,
               .rescan = options.rescan,
               .may_lack_chunks = claimed_.may_lack_chunks,
               .fingerprints = nullptr,
               .spill = &spill_,
               .limiter = options.limiter,
               .liveness = nullptr,
               .counts = {},
               .files_seen = 0,
               .bytes_seen = 0,
               .bytes_read = 0},
      extra_(session.repository().keys(), writer_, jobs_, session.volume_tag(claimed_.id, ".")) {}

SourceBackup::~SourceBackup() = default;

Result<std::unique_ptr<SourceBackup>> SourceBackup::open(
    store::Session& session, const Source& source, const BackupOptions& options,
    ProgressCallback progress, const std::atomic<bool>& cancel, std::size_t share) {
  if (source.error) return *source.error;
  if (options.wish == Wish::snapshot && source.kind == store::SourceKind::folder) {
    return Error{Code::unsupported, 0, "folders of this host are captured live"};
  }
  std::vector<Excludes> excludes;
  for (const VolumeSource& volume : source.volumes) {
    std::vector<std::string> patterns = options.exclude;
    patterns.insert(patterns.end(), volume.exclude.begin(), volume.exclude.end());
    excludes.push_back(TRY(Excludes::parse(patterns)));
  }
  auto claimed = TRY(session.claim(source.kind, source.host_id, source.host, source.name));
  std::unique_ptr<SourceBackup> backup(
      new SourceBackup(session, source, options, std::move(progress), cancel, std::move(claimed),
                       std::move(excludes), share));
  store::Snapshot& snapshot = backup->snapshot_;
  snapshot.kind = source.kind;
  snapshot.name = source.name;
  snapshot.host_id = source.host_id;
  snapshot.host = source.host;
  snapshot.zone = options.zone;
  snapshot.tags = options.tags;
  snapshot.image = source.image;
  snapshot.image_id = source.image_id;
  snapshot.program = std::string("bygone ") + BYGONE_VERSION;
  snapshot.started = options.clock();
  snapshot.instant = snapshot.started;
  // Who pauses himself never wakes up.
  backup->writes_itself_ =
      !backup->can_be_written() && source.kind != store::SourceKind::folder &&
      std::any_of(source.volumes.begin(), source.volumes.end(),
                  [](const VolumeSource& volume) { return volume.has_writers; });
  const bool may_change = source.kind == store::SourceKind::folder || backup->writes_itself_ ||
                          backup->can_be_written();
  snapshot.consistency = may_change ? Consistency::live : Consistency::idle;
  backup->report_.skipped = source.skipped;
  return backup;
}

bool SourceBackup::must_freeze() const {
  return can_be_written() && options_.wish != Wish::live && !is_native() && !amended_ && !too_far_;
}

void SourceBackup::enter_phase(const char* phase) {
  const std::lock_guard lock(phase_mutex_);
  phase_ = phase;
}

void SourceBackup::show(bool walk_finished) {
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

// Volumes match by destination: anonymous ones change their names.
std::optional<Entry> SourceBackup::parent_root(const VolumeSource& volume) const {
  if (!claimed_.parent) return std::nullopt;
  for (const store::Volume& before : claimed_.parent->volumes) {
    if (before.destination == volume.destination) return before.root;
  }
  return std::nullopt;
}

// Once a day: what lies in pages that are mostly dead is written anew.
Result<void> SourceBackup::count_live_pages() {
  if (liveness_ || !claimed_.parent) return {};
  if (claimed_.parent->instant / kDay >= snapshot_.started / kDay) return {};
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

// What the session stores from here to the end of a phase is this source's.
class SourceBackup::Meter {
 public:
  explicit Meter(SourceBackup& backup) : backup_(backup), before_(backup.session_.added_bytes()) {}
  ~Meter() { backup_.added_ += backup_.session_.added_bytes() - before_; }
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

 private:
  SourceBackup& backup_;
  std::uint64_t before_;
};

Result<void> SourceBackup::dump(docker::Engine* engine) {
  if (options_.dump.kind == DumpWish::Kind::none) return {};
  const Meter meter(*this);
  if (progress_) ticker_ = std::make_unique<Ticker>([this] { show(walk_finished_); });
  enter_phase("dumping");
  auto before = TRY(newest_dumps(session_.repository(), trees_, claimed_.id, claimed_.parent));
  const DumpContext context{.engine = engine,
                            .source = source_,
                            .wish = options_.dump,
                            .extra = extra_,
                            .jobs = jobs_,
                            .trees = trees_,
                            .parent = std::move(before),
                            .clock = options_.clock,
                            .limiter = options_.limiter,
                            .cancel = context_.cancel};
  DumpReport dumps = TRY(make_dumps(context));
  for (std::string& line : dumps.failed) note_failed(std::move(line));
  for (std::string& line : dumps.warnings) warn(std::move(line));
  for (std::string& line : dumps.lasting) report_.lasting.push_back(std::move(line));
  for (std::string& line : dumps.skipped) report_.skipped.push_back(std::move(line));
  enter_phase("reading");
  return {};
}

Result<void> SourceBackup::read(docker::Engine* engine) {
  const Meter meter(*this);
  TRY(open_volumes(engine));
  if (progress_ && !ticker_) {
    ticker_ = std::make_unique<Ticker>([this] { show(walk_finished_); });
  }
  if (options_.wish == Wish::native && !can_be_written()) {
    return Error{Code::unsupported, 0,
                 "nothing runs on its volumes; hint: without --consistency native it is idle"};
  }
  const bool automatic = options_.wish == Wish::automatic;
  if (must_freeze() && (automatic || options_.wish == Wish::native)) {
    CHECK(engine != nullptr);
    TRY(begin_native(*engine));
  }
  if (must_freeze() && (automatic || options_.wish == Wish::snapshot)) TRY(plan_snapshot());
  return is_by_snapshot() ? Result<void>() : read_volumes();
}

Result<void> SourceBackup::read_hot() {
  const Meter meter(*this);
  enter_phase("reading");
  left_snapshot_ = false;
  return read_volumes();
}

Result<void> SourceBackup::read_volumes() {
  // For a second look, which what is idle may need as well.
  if (may_have_newcomers()) context_.fingerprints = &fingerprints_;
  TRY(count_live_pages());
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < passes_.size(); ++i) {
    auto root = passes_[i]->read(parent_root(source_.volumes[i]));
    if (!root && root.error().code != Code::cancelled) {
      return std::move(root).error().with(called(source_.volumes[i]));
    }
    if (!root) return std::move(root).error();
    roots_.push_back(std::move(*root));
    report_.new_files += passes_[i]->notes().new_files;
    report_.unmodified_files += passes_[i]->notes().unmodified_files;
  }
  hot_pass_ = std::chrono::steady_clock::now() - begin;
  if (must_freeze()) TRY(judge_transfer());
  walk_finished_ = true;
  return {};
}

// What is read through the engine is transferred whole a second time under the freeze. Nobody is
// made to stand still for a transfer that cannot end in time.
Result<void> SourceBackup::judge_transfer() {
  std::chrono::nanoseconds least{0};
  for (const auto& pass : passes_) least += pass->least_capture_time();
  if (least <= options_.max_freeze) return {};
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(least);
  std::string why = "the engine needs " + std::to_string(ms.count()) +
                    " ms to send its volumes, longer than a freeze may be";
  if (options_.wish != Wish::automatic) {
    return Error{
        Code::io, 0,
        why + "; hint: allow more with --max-freeze, or accept it with --consistency live"};
  }
  settle_for_live(why);
  too_far_ = true;
  return {};
}

// Nobody stands still; but what the pre hook has prepared is what is to be captured.
Result<void> SourceBackup::read_after_hook() {
  const Meter meter(*this);
  TRY(capture_volumes(kTransferTries));
  if (failed_capture_) {
    warn(*failed_capture_ + ": it is kept as it was read before its pre hook");
    return {};
  }
  return store_volumes();
}

Result<void> SourceBackup::sync() {
  let_go_ = false;
  for (const auto& pass : passes_) TRY(pass->sync());
  return {};
}

Result<void> SourceBackup::capture() {
  enter_phase("frozen");
  return capture_volumes(1);
}

Result<void> SourceBackup::capture_volumes(int tries) {
  for (std::size_t i = 0; i < passes_.size(); ++i) {
    auto captured = passes_[i]->capture(roots_[i]);
    for (int left = tries - 1; left > 0 && !captured && passes_[i]->has_ended_early(); --left) {
      log::warning(captured.error().message + ": reading the volume again");
      captured = passes_[i]->capture(roots_[i]);
    }
    const auto loss = spill_.loss();
    if (captured && loss) captured = *loss;  // no file that was read is to blame
    if (captured) continue;
    // A transfer that fails under the freeze, or beside the writers, is no reason to lose what the
    // hot pass has.
    const bool may_vanish = source_.volumes[i].access == Access::engine || writers().empty();
    const bool optional =
        may_vanish && options_.wish == Wish::automatic && captured.error().code != Code::cancelled;
    if (!optional) return captured;
    failed_capture_ = called(source_.volumes[i]) + ": " + captured.error().message;
    return {};
  }
  return {};
}

Result<void> SourceBackup::store() {
  const Meter meter(*this);
  if (is_by_snapshot()) return store_snapshot();
  enter_phase("storing");
  const std::vector<Entry> hot = roots_;
  if (!failed_capture_) TRY(store_volumes());
  return confirm_still(hot);
}

Result<void> SourceBackup::store_volumes() {
  for (std::size_t i = 0; i < passes_.size(); ++i) {
    roots_[i] = TRY(passes_[i]->store_captured());
    if (auto loss = spill_.loss()) return *loss;
  }
  return {};
}

// Beside the database's own volumes there may be others: nothing says that they are of its moment,
// unless they are as they were.
Result<void> SourceBackup::check_others() {
  for (std::size_t i = 0; i < passes_.size(); ++i) {
    if (native_->owns(i) || TRY(here_[i]->is_unchanged(roots_[i]))) continue;
    const std::string text = "volume " + printable(source_.volumes[i].destination) +
                             " is not PostgreSQL's and changed meanwhile";
    if (options_.wish != Wish::native) return Error{Code::io, 0, text};
    warn(text + ": it is captured live");
  }
  return {};
}

Result<void> SourceBackup::amend() {
  const Meter meter(*this);
  enter_phase("storing");
  std::vector<Entry> roots = roots_;
  auto others = check_others();
  if (!others) return leave_native(others.error());
  for (const auto& [volume, edit] : native_->edits()) {
    auto root = here_[volume]->amend(roots_[volume], edit);
    if (auto failure = jobs_.failure()) return *failure;  // the store's: nothing else would help
    if (!root) return leave_native(root.error());
    roots[volume] = std::move(*root);
  }
  roots_ = std::move(roots);
  native_.reset();
  amended_ = true;
  return {};
}

void SourceBackup::set_group(GroupRun group, Nanoseconds instant) {
  snapshot_.group = std::move(group.name);
  snapshot_.run = group.run;
  snapshot_.members = std::move(group.members);
  snapshot_.instant = instant;
}

// What the container was, and what could not be read.
Result<void> SourceBackup::write_extra() {
  const Meter meter(*this);
  const Nanoseconds time = snapshot_.instant;
  if (!source_.container_json.empty()) {
    TRY(extra_.add("container.json", source_.container_json, time));
  }
  if (!deleted_.empty()) TRY(extra_.add("layer-deleted", deleted_, time));
  if (!report_.unreadable.empty()) {
    std::string text;
    for (const Unreadable& each : report_.unreadable) {
      text += printable(each.path) + ": " + each.reason + "\n";
    }
    TRY(extra_.add("errors", text, time));
  }
  snapshot_.extra = TRY(extra_.finish(time));
  return {};
}

Result<BackupReport> SourceBackup::commit() {
  // Those of a snapshot by the file system are gathered as each copy is read.
  for (std::size_t i = 0; i < passes_.size() && !is_by_snapshot(); ++i) {
    gather_notes(i, passes_[i]->notes());
  }
  TRY(write_extra());
  ticker_.reset();
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
  constexpr std::size_t kRecorded = 1000;  // bytes of a reason
  for (const std::string& text : report_.failed) {
    snapshot_.failed.push_back(text.substr(0, kRecorded));
  }
  snapshot_.finished = options_.clock();
  if (context_.cancel.load()) return Error{Code::cancelled, 0, "cancelled"};
  claimed_.added = added_;
  report_.snapshot = TRY(session_.commit(claimed_, snapshot_));
  report_.changed_files = context_.counts.changed_files;
  report_.bytes_read = context_.bytes_read;
  return std::move(report_);
}

}  // namespace bygone::ingest
