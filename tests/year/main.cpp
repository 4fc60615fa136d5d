// SPDX-License-Identifier: Apache-2.0
//
// A year in minutes: hourly backups of a changing tree, retention and a daily prune, through the
// real engine with a clock of its own. Then: is the repository flat, is the newest snapshot still
// cheap to list and to restore, is an increment less than what was written, is anything lost?
//
// usage: year [--days N] [--files N] [--database-mib N] [--pages-an-hour N] [--work FOLDER]
//
// With a folder to work in it can be stopped by SIGINT or SIGTERM: it ends after the day, with 3,
// and the same command goes on from there.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <map>
#include <optional>
#include <stdexcept>

#include <fmt/core.h>

#include "ingest/backup.h"
#include "ingest/discover.h"
#include "store/chunk_store.h"
#include "store/forget.h"
#include "store/prune.h"
#include "store/survey.h"
#include "store/trash.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"
#include "tests/year/world.h"

namespace bygone::test {
namespace {

namespace filesystem = std::filesystem;
using store::ChunkKind;
using store::Entry;

constexpr Nanoseconds kHour = 3600 * kSecond;
constexpr std::size_t kCache = 16u << 20;
constexpr double kLimit = 3;  // decoded for needed, at most
// From then on each rule lets go of as much as it takes in, and every page has been written over.
const store::RetentionRules kRules{.hourly = 24, .daily = 7, .weekly = 4, .monthly = 6};
constexpr std::uint64_t kSettled = 180;  // days
// Flat: the days of the last quarter need no more than those of the quarter before, on average.
// From day to day prune lets a pack be this dead before it copies what lives.
constexpr double kGrowth = 1.1;
const double kMostDead = store::PruneOptions().max_dead_percent / 100;

struct Options {
  std::uint64_t days = 365;
  WorldOptions world;
  std::string work;
};

struct Cost {
  double page_bytes = 0;      // decoded by `find`
  double bytes_per_byte = 0;  // decoded for restored, bases of deltas among them
};

void visit_files(store::TreeReader& trees, const Entry& folder,
                 const std::function<void(const Entry&)>& visit) {
  std::vector<Entry> entries;
  value_of(trees.list(folder, 0, [&](const Entry& entry) {
    entries.push_back(entry);
    return true;
  }));
  for (const Entry& entry : entries) {
    if (entry.is_directory()) {
      visit_files(trees, entry, visit);
    } else {
      visit(entry);
    }
  }
}

// Of a repository that was just opened: its caches of kCache are cold.
Cost cost_of(store::Repository& repository, const store::Snapshot& snapshot) {
  Cost cost;
  store::ChunkStore& chunks = repository.chunks();
  visit_files(repository.trees(), snapshot.volumes[0].root, [](const Entry&) {});
  cost.page_bytes = static_cast<double>(chunks.decoded_bytes());
  store::TreeReader trees(chunks, kCache);  // what it decodes is a hundredth of the rest
  std::uint64_t restored = 0;
  visit_files(trees, snapshot.volumes[0].root, [&](const Entry& file) {
    value_of(trees.extents(file, 0, file.size, [&](std::uint64_t, const store::Extent& extent) {
      if (extent.kind != store::Extent::Kind::data) return true;
      restored += extent.length;
      value_of(chunks.get(ChunkKind::data, extent.chunk));
      return true;
    }));
  });
  cost.bytes_per_byte = (static_cast<double>(chunks.decoded_bytes()) - cost.page_bytes) /
                        static_cast<double>(restored);
  return cost;
}

std::uint64_t stored_bytes(const std::string& repository) {
  std::uint64_t total = 0;
  for (const char* part : {"packs", "snapshots", "trash", "notes", "condemned"}) {
    for (const auto& entry : filesystem::recursive_directory_iterator(repository + "/" + part)) {
      if (entry.is_regular_file()) total += entry.file_size();
    }
  }
  return total;
}

// What was stored at the end of some days.
struct Days {
  double sum = 0;
  std::uint64_t count = 0;
  std::uint64_t lowest = UINT64_MAX, highest = 0;
  void add(std::uint64_t bytes) {
    lowest = std::min(lowest, bytes);
    highest = std::max(highest, bytes);
    sum += static_cast<double>(bytes);
    ++count;
  }
  [[nodiscard]] double mean() const { return sum / static_cast<double>(count); }
};

volatile std::sig_atomic_t stop = 0;

class Year {
 public:
  explicit Year(const Options& options)
      : options_(options),
        base_(options.work.empty() ? own_.path() : options.work),
        world_((filesystem::create_directories(base_ + "/source"), base_ + "/source"),
               options.world) {
    secret_.kind = store::Secret::Kind::key_file;
    secret_.bytes = store::SecretBytes::copy_of(as_bytes("the key file of a year"));
    if (load()) return;
    world_.begin();
    value_of(store::Repository::create(base_ + "/repository", secret_));
    repository_ = open(base_ + "/repository");
    begin_ = system_now() + kHour;
    back_up(begin_);
    fresh_page_bytes_ = cost_of(*open(base_ + "/repository"), newest_).page_bytes;
  }

  // The number of complaints; nothing when it was told to stop.
  std::optional<int> run() {
    fmt::print("{:>5} {:>9} {:>10} {:>12} {:>8} {:>8} {:>8}\n", "day", "snapshots", "stored MiB",
               "KiB an hour", "of pages", "find", "restore");
    while (day_ < options_.days) {
      for (std::uint64_t hour = day_ * 24 + 1; hour <= (day_ + 1) * 24; ++hour) {
        now_ = begin_ + static_cast<Nanoseconds>(hour) * kHour;
        pages_written_ += world_.hour();
        added_ += back_up(now_).added_bytes;
      }
      ++day_;
      end_day();
      if (stop != 0 && day_ < options_.days) {
        save();
        return std::nullopt;
      }
    }
    return check();
  }

 private:
  std::unique_ptr<store::Repository> open(const std::string& path) {
    return value_of(store::Repository::open(
        path, secret_, {.index_dir = "", .page_cache_bytes = kCache, .chunk_cache_bytes = kCache}));
  }

  store::Snapshot back_up(Nanoseconds now) {
    auto session = value_of(store::Session::begin(*repository_, store::Compression::standard));
    const auto source = value_of(ingest::folder_source("world", base_ + "/source"));
    ingest::BackupOptions options;
    options.state_folder = base_ + "/state";
    options.clock = [now] { return now; };
    newest_ = value_of(ingest::backup(*session, source, nullptr, options, {}, cancel_)).snapshot;
    return newest_;
  }

  [[nodiscard]] std::string state_path() const { return base_ + "/year"; }

  // Reads or writes every number of where the year stands, in one order.
  template <class Stream>
  void visit_state(const Stream& each) {
    each(begin_), each(day_), each(added_), each(pages_written_), each(fresh_page_bytes_);
    each(most_dead_);
    for (Days* days : {&third_quarter_, &last_quarter_}) {
      each(days->sum), each(days->count), each(days->lowest), each(days->highest);
    }
  }

  void save() {
    std::ofstream out(state_path());
    out << std::setprecision(17);
    visit_state([&](const auto& number) { out << number << '\n'; });
    world_.save(out);
    if (!out.flush()) throw std::runtime_error("writing " + state_path() + " failed");
    fmt::print("stopped after day {}; the same command goes on\n", day_);
  }

  // False when nothing was stopped here. What is gone on from is forgotten: the next hour changes
  // the world.
  bool load() {
    std::ifstream in(state_path());
    if (!in) return false;
    visit_state([&](auto& number) { in >> number; });
    world_.load(in);
    if (!in) throw std::runtime_error(state_path() + " is not what a year leaves");
    filesystem::remove(state_path());
    repository_ = open(base_ + "/repository");
    return true;
  }

  void end_day() {
    const auto plan = value_of(store::plan_forgetting(*repository_, kRules,
                                                      {.clock = [this] { return now_; },
                                                       .only = {},
                                                       .accept_shrink = false,
                                                       .accept_clock = true}));
    std::vector<SnapshotId> ids;
    for (const auto& snapshot : plan.let_go()) ids.push_back(snapshot.id);
    value_of(store::move_to_trash(*repository_, ids, now_));
    store::PruneOptions prune;
    prune.clock = [this] { return now_; };
    value_of(store::prune(*repository_, prune, {}, cancel_));
    const std::uint64_t stored = stored_bytes(repository_->path());
    if (day_ * 4 >= options_.days * 3) {
      last_quarter_.add(stored);
      most_dead_ = std::max(most_dead_, dead_share());
    } else if (day_ * 2 >= options_.days) {
      third_quarter_.add(stored);
    }
    if (day_ % 30 != 0 && day_ != options_.days) return;
    last_ = cost_of(*open(base_ + "/repository"), newest_);
    pages_per_page_ = last_.page_bytes / fresh_page_bytes_;
    const double hours = static_cast<double>(day_) * 24;
    fmt::print("{:>5} {:>9} {:>10.1f} {:>12.1f} {:>8.2f} {:>8.2f} {:>8.2f}\n", day_,
               value_of(repository_->snapshot_ids()).size(),
               static_cast<double>(stored) / (1 << 20), static_cast<double>(added_) / 1024 / hours,
               increment_share(), pages_per_page_, last_.bytes_per_byte);
    std::fflush(stdout);
  }

  // Of the records' bytes, those that neither a snapshot nor the trash needs.
  [[nodiscard]] double dead_share() {
    const auto survey = value_of(store::Survey::make(*repository_, {}, {}, {}, cancel_));
    store::RecordBytes bytes;
    for (const store::PackUse& use : value_of(survey->measure())) bytes += use.bytes;
    return static_cast<double>(bytes.dead) / static_cast<double>(bytes.total());
  }

  // Bytes added for the bytes of database pages written. Small files are in it, too.
  [[nodiscard]] double increment_share() const {
    return static_cast<double>(added_) / static_cast<double>(pages_written_ * World::kPage);
  }

  // Files that the newest snapshot lacks, has too many, or gives with other bytes than the world.
  std::size_t differing_files() {
    MemoryTree tree = value_of(read_back(*repository_, newest_));
    std::size_t differing = 0;
    for (const auto& entry : filesystem::recursive_directory_iterator(base_ + "/source")) {
      if (!entry.is_regular_file()) continue;
      const auto name = filesystem::relative(entry.path(), base_ + "/source").string();
      const auto file = tree.find(name);
      if (file == tree.end()) {
        ++differing;
        continue;
      }
      if (file->second != read_whole(entry.path())) ++differing;
      tree.erase(file);
    }
    return differing + tree.size();
  }

  int check() {
    int complaints = 0;
    const auto demand = [&](bool holds, const std::string& what) {
      fmt::print("{}: {}\n", holds ? "holds" : "FAILS", what);
      if (!holds) ++complaints;
    };
    if (options_.days >= 2 * kSettled) {
      demand(last_quarter_.mean() < kGrowth * third_quarter_.mean(),
             fmt::format("the repository is flat: {:.1f} MiB in the last quarter, {:.1f} in the "
                         "one before",
                         last_quarter_.mean() / (1 << 20), third_quarter_.mean() / (1 << 20)));
    } else {
      demand(last_quarter_.highest < last_quarter_.lowest * 5 / 4,
             fmt::format("the repository is flat in the last quarter: {:.1f} to {:.1f} MiB",
                         static_cast<double>(last_quarter_.lowest) / (1 << 20),
                         static_cast<double>(last_quarter_.highest) / (1 << 20)));
    }
    demand(most_dead_ < kMostDead,
           fmt::format("after a prune at most {:.2f} of the records are dead", most_dead_));
    demand(pages_per_page_ < kLimit,
           fmt::format("find decodes {:.2f} for what a fresh snapshot needs", pages_per_page_));
    demand(last_.bytes_per_byte < kLimit,
           fmt::format("a restore decodes {:.2f} bytes for a byte", last_.bytes_per_byte));
    demand(increment_share() < 1,
           fmt::format("an increment adds {:.2f} of the pages written", increment_share()));
    const std::size_t differing = differing_files();
    demand(differing == 0, fmt::format("{} of {} files read otherwise from the newest snapshot",
                                       differing, options_.world.files + 1));
    const auto report =
        value_of(store::verify(*repository_, {.read_data_percent = 100}, {}, cancel_));
    for (const std::string& line : report.damage) fmt::print("{}\n", line);
    demand(report.damage.empty(), fmt::format("{} snapshots, {} packs, {} records prove themselves",
                                              report.snapshots, report.packs, report.records_read));
    return complaints;
  }

  Options options_;
  TempFolder own_;
  std::string base_;
  World world_;
  store::Secret secret_;
  std::unique_ptr<store::Repository> repository_;
  store::Snapshot newest_;
  Nanoseconds begin_ = 0, now_ = 0;
  std::uint64_t day_ = 0;        // that ended
  double fresh_page_bytes_ = 0;  // that `find` decodes of the first snapshot
  std::uint64_t added_ = 0, pages_written_ = 0;
  Days third_quarter_, last_quarter_;
  double most_dead_ = 0;  // in the last quarter
  Cost last_;
  double pages_per_page_ = 0;  // of `find`, against the pages of the first snapshot
  std::atomic<bool> cancel_{false};
};

Options parse(int argc, char** argv) {
  Options options;
  const std::map<std::string, std::uint64_t*> numbers = {
      {"--days", &options.days},
      {"--files", &options.world.files},
      {"--database-mib", &options.world.database_bytes},
      {"--pages-an-hour", &options.world.pages_an_hour},
      {"--seed", &options.world.seed}};
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    const auto number = numbers.find(name);
    if (i + 1 == argc || (number == numbers.end() && name != "--work")) {
      throw std::runtime_error(
          "usage: year [--days N] [--files N] [--database-mib N] "
          "[--pages-an-hour N] [--seed N] [--work FOLDER]");
    }
    if (name == "--work") options.work = argv[i + 1];
    if (number != numbers.end()) *number->second = std::stoull(argv[i + 1]);
    if (name == "--database-mib") options.world.database_bytes <<= 20;
  }
  return options;
}

}  // namespace
}  // namespace bygone::test

int main(int argc, char** argv) {
  try {
    const bygone::test::Options options = bygone::test::parse(argc, argv);
    if (!options.work.empty()) {
      for (const int signal : {SIGINT, SIGTERM}) {
        std::signal(signal, [](int) { bygone::test::stop = 1; });
      }
    }
    const std::optional<int> complaints = bygone::test::Year(options).run();
    if (!complaints) return 3;
    return *complaints == 0 ? 0 : 1;
  } catch (const std::exception& failure) {
    fmt::print(stderr, "year: {}\n", failure.what());
    return 2;
  }
}
