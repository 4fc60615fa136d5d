// SPDX-License-Identifier: Apache-2.0
//
// The backup of one source as phases, so that those of a group can run side by side: open, hot
// pass (but for a snapshot by the file system, which is read in store()), then either sync, capture
// and store, or end and amend, then commit. backup.h orders them
// and holds the writers still between sync() and capture(). One thread at a time; progress comes
// from a thread of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ingest/backup.h"
#include "ingest/exclude.h"
#include "ingest/extra_tree.h"
#include "ingest/native_backup.h"
#include "ingest/newcomers.h"
#include "ingest/pass.h"
#include "ingest/reader_container.h"
#include "ingest/subvolume_snapshots.h"
#include "ingest/tar_pass.h"
#include "ingest/ticker.h"
#include "ingest/volume_pass.h"
#include "store/page_liveness.h"
#include "store/session.h"

namespace bygone::ingest {

// How the writers stood still while a source was captured.
struct Stillness {
  bool held = false;      // all of them, from before the capture until its end
  bool stopped = false;   // those that were to be, in good order
  std::string why_not;    // when not, for people
  Nanoseconds since = 0;  // when the last one was paused, or could not be; 0: never
  Nanoseconds window = 0;
  Nanoseconds skew = 0;
  std::optional<RunningNow> after;  // what ran then; nothing: the engine did not tell
};

// The group that a snapshot belongs to.
struct GroupRun {
  std::string name;
  store::RunId run;
  std::vector<std::string> members;  // names of the sources
};

class SourceBackup {
 public:
  // Claims the source. `session`, `source`, `options` and `cancel` must outlive it; `share` is how
  // many backups share this process's memory. Errors: that of the source itself; busy; invalid for
  // an exclude pattern that is none.
  static Result<std::unique_ptr<SourceBackup>> open(store::Session& session, const Source& source,
                                                    const BackupOptions& options,
                                                    ProgressCallback progress,
                                                    const std::atomic<bool>& cancel,
                                                    std::size_t share);
  ~SourceBackup();
  SourceBackup(const SourceBackup&) = delete;
  SourceBackup& operator=(const SourceBackup&) = delete;

  // Whether writers are to stand still between sync() and the end of capture(), were it none.
  // Without it the hot pass is all there is, but for is_native().
  [[nodiscard]] bool must_freeze() const;

  // Whether the database is in backup mode: end_native() and amend() are called, and not those
  // above.
  [[nodiscard]] bool is_native() const { return native_ != nullptr && !aside_; }
  // The container of that database, which must run until end_native() is done.
  [[nodiscard]] const std::string& native_container() const { return native_->container(); }

  // Whether containers can write to its volumes at all: not to a folder of the host.
  [[nodiscard]] bool may_have_newcomers() const {
    return source_.kind != store::SourceKind::folder || can_be_written();
  }
  // What is to stand still, those that were taken up included.
  [[nodiscard]] std::vector<Writer> writers() const;
  // After read(), any number of times: takes up containers that have come to run on its volumes
  // since the discovery. Makes a hot pass or puts an end to the native way where it must. Errors:
  // as leave_native(); those of reading. Nothing: the engine did not tell.
  Result<void> take_up(const std::optional<RunningNow>& now);
  // After read(), when nothing was known to write to its volumes: that they are as they were read.
  // If not they are to be captured again, as under a freeze.
  Result<void> confirm_idle();
  // The same of a member of a group, once the others have stood still: then it is too late for
  // anything but to say so. Errors: io when the wish insists.
  Result<void> confirm_rest(const std::optional<RunningNow>& now);

  // Bytes of the files read so far; after the hot pass about what a freeze would read again.
  [[nodiscard]] std::uint64_t bytes_read() const { return context_.bytes_read.load(); }

  // Whether its volumes are captured by snapshots of the file system: there was no hot pass, and
  // the snapshots are to be made where capture() would be called.
  [[nodiscard]] bool is_by_snapshot() const { return !places_.empty(); }
  // Whether that was to be and did not come about: read_hot() is next, and all that follows it.
  [[nodiscard]] bool has_left_snapshot() const { return left_snapshot_; }

  // Makes the dumps that the options ask for, while everything runs: what the engine refuses under
  // a pause. Called before read(): what the application does meanwhile would make the freeze
  // longer. What fails is in the report. Errors: cancelled; those of the store.
  Result<void> dump(docker::Engine* engine);
  // The hot pass: walks and stores all volumes while their writers run; what can be backed up
  // natively is put into backup mode before. Where a snapshot of the file system will do, nothing
  // is read yet. `engine` is needed when the source has
  // writers, or volumes that are read through it, and outlives the backup then.
  Result<void> read(docker::Engine* engine);
  // The hot pass of a backup that has left its snapshot.
  Result<void> read_hot();
  // After read(): whether nobody is to stand still, because the transfer would take too long.
  [[nodiscard]] bool is_too_far() const { return too_far_; }
  // Then, once its pre hook has run: captures what differs from what read() has read. Where that
  // fails, what read() has read is kept, with a warning. Errors: as capture() and store().
  Result<void> read_after_hook();
  // Before the hooks: copies what has changed since the hot pass, again and again while that makes
  // the next time shorter, so that little is left for capture().
  Result<void> look_ahead();
  // Makes what was written so far durable, so that later changes show.
  Result<void> sync();
  // Walks again and takes what changed since the hot pass.
  Result<void> capture();
  // Ends what keeps the engine from thawing a container, at the cost of the capture. Any thread;
  // lasts until the next sync().
  void let_go() { let_go_ = true; }
  // After capture(): whether it was of one moment. Errors: io when the wish insists and it was not.
  // Where is_native() is true afterwards, nothing is to be stored, and end_native() is next.
  Result<void> judge(const Stillness& stillness);
  // Stores what capture() took, or the snapshots have.
  Result<void> store();

  // Takes up the subvolumes of its volumes; `snapshots` outlives store().
  void add_to(SubvolumeSnapshots& snapshots);
  // Goes on as if there were no snapshot. Errors: unsupported when the wish insists.
  Result<void> leave_snapshot(const Error& why);

  // Ends the database's backup mode: that moment is the snapshot's. `since`: of the group's
  // instant, 0 for a source of its own. A failure that the wish can live with is a warning, and the
  // writers are to stand still for another capture.
  Result<void> end_native(Nanoseconds since);
  // After end_native(): makes a base backup of the hot pass. Failures as there.
  Result<void> amend();
  // Goes on as if there were no native way. Errors: unsupported when the wish insists.
  Result<void> leave_native(const Error& why);
  // Has the database stand still like others, for the reason `why`, and leaves it in backup mode:
  // should the freeze fail, judge() goes back to the native way. Errors: as leave_native().
  Result<void> put_native_aside(const Error& why);
  // Ends what outlasts a failure: the backup mode.
  void abandon() { native_.reset(); }
  // Writes the extra tree and commits. Errors: cancelled; those of the store.
  Result<BackupReport> commit();

  void warn(std::string warning) { report_.warnings.push_back(std::move(warning)); }
  // A hook or dump failed: recorded, and in the report.
  void note_failed(std::string what) { report_.failed.push_back(std::move(what)); }
  void set_image_digests(std::vector<std::string> digests) {
    snapshot_.image_digests = std::move(digests);
  }
  void set_group(GroupRun group, Nanoseconds instant);

 private:
  SourceBackup(store::Session& session, const Source& source, const BackupOptions& options,
               ProgressCallback progress, const std::atomic<bool>& cancel,
               store::ClaimedSource claimed, std::vector<Excludes> excludes, std::size_t share);
  class Meter;
  // A container in a crash loop may run again at any moment.
  [[nodiscard]] bool can_be_written() const {
    return !source_.writers.empty() || !source_.restarting.empty() || !newcomers_.empty() ||
           disturbed_;
  }
  [[nodiscard]] bool has_writers(std::size_t volume) const {
    return source_.volumes[volume].has_writers || written_.count(volume) != 0;
  }
  // Nothing is known to write to it, and it was captured so.
  [[nodiscard]] bool is_idle() const {
    return may_have_newcomers() && !can_be_written() && !writes_itself_;
  }
  [[nodiscard]] std::set<std::string> writer_ids() const;
  [[nodiscard]] std::optional<std::string> find_newcomer(const RunningNow& now) const;
  Result<void> leave_moment(const std::string& why);
  void settle_for_live(const std::string& why);
  Result<bool> is_as_read();
  Result<void> confirm_still(const std::vector<store::Entry>& hot);
  [[nodiscard]] static std::string called(const VolumeSource& volume);  // for people
  Result<void> open_volumes(docker::Engine* engine);
  Result<TarPass::Open> open_archive(docker::Engine& engine, std::size_t number);
  TarPass::Open open_layer(docker::Engine& engine, const VolumeSource& volume,
                           const Excludes& excludes);
  Result<void> begin_native(docker::Engine& engine);
  Result<void> read_volumes();
  Result<void> plan_snapshot();
  Result<void> find_places();
  Result<void> store_snapshot();
  Result<void> confirm_unwritten();
  Result<store::Entry> read_copy(std::size_t number);
  Result<void> check_others();
  [[nodiscard]] std::optional<store::Entry> parent_root(const VolumeSource& volume) const;
  Result<void> judge_transfer();
  Result<void> capture_volumes(int tries);
  Result<void> store_volumes();
  Result<void> count_live_pages();
  void gather_notes(std::size_t number, const WalkNotes& notes);
  Result<void> write_extra();
  void enter_phase(const char* phase);
  void show(bool walk_finished);

  store::Session& session_;
  const Source& source_;
  const BackupOptions& options_;
  ProgressCallback progress_;
  store::ClaimedSource claimed_;
  std::vector<Excludes> excludes_;  // of each volume, until it is opened
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> off_limits_;
  store::TreeReader trees_;
  store::TreeWriter writer_;
  ChunkJobs jobs_;
  Fingerprints fingerprints_;
  SealedSpill spill_;
  std::optional<store::PageLiveness> liveness_;
  PassContext context_;
  ExtraTree extra_;
  std::unique_ptr<ReaderContainer> reader_;
  std::vector<std::unique_ptr<Pass>> passes_;
  std::vector<VolumePass*> here_;              // those of passes_ on this host; null for the others
  bool too_far_ = false;                       // to be read again under a freeze
  std::optional<std::string> failed_capture_;  // why the hot pass has to do
  std::vector<store::Entry> roots_;
  std::chrono::steady_clock::duration hot_pass_{0};  // how long it took
  std::vector<Writer> newcomers_;                    // that were taken up, and
  std::set<std::size_t> written_;                    // the volumes that they can write to
  bool writes_itself_ = false;  // bygone runs in the container that can write to it
  bool disturbed_ = false;      // something changed that nobody was known to write to
  std::unique_ptr<NativeBackup> native_;
  std::optional<Error> aside_;  // why native_ only waits for a freeze to fail
  bool amended_ = false;        // by what native_ told; nothing is left to be captured
  // Of each volume, for a snapshot; nothing for one that cannot change. Empty without a snapshot.
  std::vector<std::optional<SubvolumePlace>> places_;
  std::vector<std::size_t> numbers_;  // of their snapshots, in
  SubvolumeSnapshots* snapshots_ = nullptr;
  bool left_snapshot_ = false;
  std::atomic<bool> walk_finished_{false};
  std::atomic<bool> let_go_{false};
  std::mutex phase_mutex_;
  std::string phase_ = "reading";
  store::Snapshot snapshot_;
  BackupReport report_;
  std::string deleted_;      // paths of the image, a line each
  std::uint64_t added_ = 0;  // bytes stored for this source
  std::unique_ptr<Ticker> ticker_;
};

}  // namespace bygone::ingest
