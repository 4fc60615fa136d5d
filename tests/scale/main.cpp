// SPDX-License-Identifier: Apache-2.0
//
// How bygone does on a repository of ten million chunks and two thousand snapshots. Makes one
// without file data, then measures the index, lookups and the real program's commands on it, each
// in a process of its own, and prints time and memory. Ends with 1 when a command fails or finds
// fault with the repository, or when the index writes more than it may.
//
// usage: scale [--chunks N] [--snapshots N] [--sources N] [--work FOLDER] [--bygone PROGRAM]
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/chunk_store.h"
#include "tests/scale/program.h"
#include "tests/scale/world.h"
#include "tests/support/expect.h"
#include "tests/support/temp_folder.h"

namespace bygone::test {
namespace {

namespace filesystem = std::filesystem;

constexpr double kMountSeconds = 60;    // a mount that is not ready then never will be
constexpr double kMostBytesARow = 300;  // that the index may write for a new chunk
constexpr int kSkipped = 77;

struct Options {
  std::string phase;  // empty: all of them, each in a process
  WorldOptions world;
  std::string work;
  std::string bygone;

  [[nodiscard]] std::string repository() const { return work + "/repository"; }
  [[nodiscard]] std::string key_file() const { return work + "/key"; }
};

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

std::uint64_t size_of(const std::string& path) { return filesystem::file_size(path); }

store::Secret secret_of(const Options& options) {
  const Bytes key = value_of(read_file(system_files(), options.key_file(), 4096));
  store::Secret secret;
  secret.kind = store::Secret::Kind::key_file;
  secret.bytes = store::SecretBytes::copy_of(key);
  return secret;
}

std::unique_ptr<store::Repository> open(const Options& options) {
  return value_of(store::Repository::open(options.repository(), secret_of(options)));
}

// --- in processes of their own ------------------------------------------------------------------

void print_cost(const char* what, const IndexCost& cost) {
  fmt::print("  {:<42} {:>11} rows {:>5} commits {:>8.1f} s {:>8.0f} bytes a row\n", what,
             cost.rows, cost.commits, cost.seconds, cost.bytes_a_row());
}

void demand_little(const IndexCost& cost) {
  if (cost.bytes_a_row() <= kMostBytesARow) return;
  throw std::runtime_error(fmt::format("the index wrote {:.0f} bytes a row, more than {:.0f}",
                                       cost.bytes_a_row(), kMostBytesARow));
}

void make(const Options& options) {
  const auto repository = open(options);
  World world(*repository, options.world);
  const Stopwatch founding;
  world.found();
  fmt::print("  {} chunks in {} packs and {} snapshots, made in {:.0f} s\n", world.chunks(),
             world.packs().packs(), world.snapshots(), founding.seconds());
  print_cost("index, first backups", world.packs().cost());
  const Stopwatch growing;
  while (world.snapshots() < options.world.snapshots) world.grow();
  fmt::print("  {} chunks in {} packs and {} snapshots after {:.0f} s more\n", world.chunks(),
             world.packs().packs(), world.snapshots(), growing.seconds());
  print_cost("index, with the increments", world.packs().cost());
  demand_little(world.packs().cost());
  fmt::print("  {:<42} {:>11.1f} MiB\n", "index, file",
             mib(size_of(options.repository() + "/index/data.mdb")));
  std::ofstream(options.work + "/chunks") << world.chunks();
}

std::uint64_t chunk_count(const Options& options) {
  std::uint64_t count = 0;
  std::ifstream(options.work + "/chunks") >> count;
  if (count == 0) throw std::runtime_error("nothing was made in " + options.work);
  return count;
}

// `count` chunks of new packs as a session would insert them.
IndexCost insert_new(store::Index& index, std::uint64_t& next, std::uint64_t count) {
  constexpr std::uint64_t kOfPack = 335;
  IndexCost cost;
  std::vector<store::PackContents> batch;
  std::size_t rows = 0;
  for (std::uint64_t done = 0; done < count;) {
    store::PackContents pack{.pack = store::random_id<PackId>(), .chunks = {}};
    for (std::uint64_t i = 0; i < kOfPack && done < count; ++i, ++done) {
      pack.chunks.push_back(synthetic_id(next++));
    }
    rows += pack.chunks.size();
    batch.push_back(std::move(pack));
    if (rows < HollowPacks::kBatch && done < count) continue;
    cost += insert_measured(index, batch);
    batch.clear();
    rows = 0;
  }
  return cost;
}

// On a copy: rows of packs that are not there would look like lost packs.
void increments(const Options& options) {
  const std::string folder = options.work + "/index-copy";
  filesystem::create_directories(folder);
  filesystem::copy_file(options.repository() + "/index/data.mdb", folder + "/data.mdb",
                        filesystem::copy_options::overwrite_existing);
  {
    const auto index = value_of(store::Index::open(system_files(), folder, folder + "/none"));
    std::uint64_t next = std::uint64_t{1} << 40;
    const std::pair<std::uint64_t, int> sizes[] = {{1000, 64}, {20'000, 16}, {500'000, 2}};
    IndexCost all;
    for (const auto& [chunks, times] : sizes) {
      if (chunks > options.world.chunks) continue;
      IndexCost cost;
      for (int i = 0; i < times; ++i) cost += insert_new(*index, next, chunks);
      print_cost(fmt::format("index, {} increments of {}", times, chunks).c_str(), cost);
      all += cost;
    }
    demand_little(all);
    fmt::print("  {:<42} {:>11.1f} MiB\n", "index, file", mib(size_of(folder + "/data.mdb")));
  }
  filesystem::remove_all(folder);
}

void print_rate(const char* what, std::uint64_t count, double seconds) {
  fmt::print("  {:<42} {:>11.0f} a second {:>10.2f} us each\n", what,
             static_cast<double>(count) / seconds, seconds * 1e6 / static_cast<double>(count));
}

void lookups(const Options& options) {
  const std::uint64_t chunks = chunk_count(options);
  drop_from_cache(options.repository() + "/index");
  const auto repository = open(options);
  store::Index& index = repository->index();
  std::uint64_t random = 1;
  const auto find = [&](const char* what, std::uint64_t count, std::uint64_t from, bool is_there) {
    const Stopwatch watch;
    for (std::uint64_t i = 0; i < count; ++i) {
      random = IdHash{}(synthetic_id(random));
      if (value_of(index.find(synthetic_id(from + random % chunks))).has_value() != is_there) {
        throw std::runtime_error(fmt::format("{}: a wrong answer", what));
      }
    }
    print_rate(what, count, watch.seconds());
  };
  find("lookup, cold", std::min<std::uint64_t>(5000, chunks), 0, true);
  find("lookup, warming up", chunks / 2, 0, true);
  find("lookup, warm", std::min<std::uint64_t>(1'000'000, chunks * 10), 0, true);
  find("lookup of what is not there", std::min<std::uint64_t>(1'000'000, chunks * 10),
       std::uint64_t{1} << 40, false);

  // What a backup asks of each chunk: the index, and the footer of the pack.
  const auto packs = value_of(repository->chunks().list_packs());
  const std::unordered_set<PackId, IdHash> listing(packs.begin(), packs.end());
  const auto ask = [&](const char* what, std::uint64_t count, auto next) {
    const Stopwatch watch;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (!value_of(repository->chunks().is_stored(store::ChunkKind::data, synthetic_id(next(i)),
                                                   listing))) {
        throw std::runtime_error(fmt::format("{}: a chunk is not there", what));
      }
    }
    print_rate(what, count, watch.seconds());
  };
  ask("is it stored, in the order of writing", std::min<std::uint64_t>(200'000, chunks),
      [](std::uint64_t i) { return i; });
  ask("is it stored, at random", std::min<std::uint64_t>(5000, chunks), [&](std::uint64_t) {
    random = IdHash{}(synthetic_id(random));
    return random % chunks;
  });
}

// --- the program --------------------------------------------------------------------------------

class Table {
 public:
  Table() {
    fmt::print("{:<36} {:>9} {:>10} {:>14}\n", "", "seconds", "peak MiB", "anonymous MiB");
  }
  void row(const std::string& what, const Used& used, double seconds) {
    fmt::print("{:<36} {:>9.2f} {:>10.0f} {:>14.0f}\n", what, seconds, used.peak_mib,
               used.anonymous_mib);
    std::fflush(stdout);
  }
  void row(const std::string& what, const Used& used) { row(what, used, used.seconds); }
};

class Scale {
 public:
  explicit Scale(const Options& options) : options_(options) {}

  void run_all() {
    found();
    Table table;
    for (const char* phase : {"make", "increments", "lookups"}) {
      table.row(phase, run_phase(phase));
    }
    cold();
    command(table, "snapshots, cold", {"snapshots"}, "source-0");
    command(table, "snapshots", {"snapshots"}, "source-0");
    command(table, "snapshots of one source", {"snapshots", "source-1"}, "source-1");
    command(table, "ls of a snapshot", {"ls", "source-1@latest"}, "folder-000000");
    mount(table);
    cold();
    const std::string proven =
        fmt::format("\"snapshots\":{},", count_in(options_.repository() + "/snapshots"));
    command(table, "verify, cold", {"verify", "--json"}, proven);
    command(table, "verify", {"verify", "--json"}, proven);
    command(table, "stats", {"stats", "--json"}, "\"snapshots_count\"");
    command(table, "prune --dry-run", {"prune", "--dry-run"}, "");
    command(table, "forget --dry-run", {"forget", "--keep-daily", "7", "--dry-run"}, "");
    filesystem::create_directories(options_.work + "/little");
    std::ofstream(options_.work + "/little/file") << "some text that is no news\n";
    command(table, "backup of one file",
            {"backup", "--path", "little=" + options_.work + "/little"}, "");
    command(table, "repair index", {"repair", "index"}, "");
    table.row("lookups after it", run_phase("lookups"));
  }

 private:
  static std::size_t count_in(const std::string& folder) {
    return static_cast<std::size_t>(
        std::distance(filesystem::directory_iterator(folder), filesystem::directory_iterator()));
  }

  void found() const {
    filesystem::create_directories(options_.work);
    const Bytes key = Bytes(32, 7);
    std::ofstream(options_.key_file(), std::ios::binary) << as_text(key);
    value_of(store::Repository::create(options_.repository(), secret_of(options_)));
    // Nothing of the caller's set-up leaks in, and nothing is left of ours.
    ::setenv("BYGONE_REPOSITORY", options_.repository().c_str(), 1);
    ::setenv("BYGONE_KEY_FILE", options_.key_file().c_str(), 1);
    ::setenv("BYGONE_STATE_DIR", (options_.work + "/state").c_str(), 1);
    for (const char* name : {"BYGONE_PASSWORD", "BYGONE_PASSWORD_FILE", "BYGONE_PASSWORD_COMMAND",
                             "BYGONE_INDEX_DIR", "DOCKER_HOST"}) {
      ::unsetenv(name);
    }
  }

  [[nodiscard]] Used run_phase(const std::string& phase) const {
    return run({"/proc/self/exe", phase, "--work", options_.work, "--chunks",
                std::to_string(options_.world.chunks), "--snapshots",
                std::to_string(options_.world.snapshots), "--sources",
                std::to_string(options_.world.sources)},
               "");
  }

  void cold() const { drop_from_cache(options_.repository()); }

  // `expected` must stand in the output.
  void command(Table& table, const std::string& what, std::vector<std::string> arguments,
               const std::string& expected) const {
    arguments.insert(arguments.begin(), options_.bygone);
    const std::string output = options_.work + "/output";
    table.row(what, run(arguments, output));
    std::stringstream text;
    text << std::ifstream(output).rdbuf();
    if (text.str().find(expected) == std::string::npos) {
      throw std::runtime_error(fmt::format("{}: no '{}' in its output", what, expected));
    }
  }

  void mount(Table& table) const {
    const std::string folder = options_.work + "/mount";
    filesystem::create_directories(folder);
    const auto device = [&] {
      struct stat info {};
      return ::stat(folder.c_str(), &info) == 0 ? info.st_dev : 0;
    };
    const dev_t before = device();
    Program program({options_.bygone, "mount", "--foreground", folder}, options_.work + "/output");
    while (device() == before && program.look() && program.seconds() < kMountSeconds) {
      ::usleep(1000);
    }
    const double ready = program.seconds();
    if (device() == before) throw std::runtime_error("mount: it does not become ready");
    try {
      look_around(table, folder, program, ready);
    } catch (...) {
      ignore_failure({options_.bygone, "umount", folder});
      throw;
    }
  }

  void ignore_failure(const std::vector<std::string>& command) const {
    Program(command, options_.work + "/output").wait();
  }

  void look_around(Table& table, const std::string& folder, Program& program, double ready) const {
    const Stopwatch listing;
    const std::size_t sources = count_in(folder);
    const std::size_t instants = count_in(folder + "/source-0");
    const double listed = listing.seconds();
    const Stopwatch finding;
    std::size_t found = 0;
    for (const auto& entry :
         filesystem::recursive_directory_iterator(folder + "/source-0/latest/")) {
      if (entry.is_directory() || entry.file_size() > 0) ++found;
      if (found % 4096 == 0) program.look();
    }
    const double searched = finding.seconds();
    program.look();
    run({options_.bygone, "umount", folder}, options_.work + "/output");
    const Used used = program.wait();
    table.row("mount, until it is ready", used, ready);
    table.row(fmt::format("  its {} sources, {} instants of one", sources, instants), used, listed);
    table.row(fmt::format("  find in one, {} names", found), used, searched);
  }

  const Options& options_;
};

Options parse(int argc, char** argv) {
  Options options;
  const std::map<std::string, std::uint64_t*> numbers = {{"--chunks", &options.world.chunks},
                                                         {"--snapshots", &options.world.snapshots},
                                                         {"--sources", &options.world.sources}};
  const std::map<std::string, std::string*> texts = {{"--work", &options.work},
                                                     {"--bygone", &options.bygone}};
  int i = 1;
  if (argc > 1 && argv[1][0] != '-') options.phase = argv[i++];
  for (; i < argc; i += 2) {
    const std::string name = argv[i];
    const auto number = numbers.find(name);
    const auto text = texts.find(name);
    if (i + 1 == argc || (number == numbers.end() && text == texts.end())) {
      throw std::runtime_error(
          "usage: scale [--chunks N] [--snapshots N] [--sources N] [--work FOLDER] "
          "[--bygone PROGRAM]");
    }
    if (number != numbers.end()) *number->second = std::stoull(argv[i + 1]);
    if (text != texts.end()) *text->second = argv[i + 1];
  }
  if (options.world.sources == 0 || options.world.snapshots < options.world.sources ||
      options.world.chunks < 1000 * options.world.sources) {
    throw std::runtime_error("too little: a source needs a snapshot and a thousand chunks");
  }
  return options;
}

int run_main(Options options) {
  if (options.phase == "make") return make(options), 0;
  if (options.phase == "increments") return increments(options), 0;
  if (options.phase == "lookups") return lookups(options), 0;
  if (!options.phase.empty()) throw std::runtime_error("there is no phase " + options.phase);
  if (options.bygone.empty()) throw std::runtime_error("--bygone names the program");
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    fmt::print("SKIPPED: /dev/fuse cannot be opened here\n");
    return kSkipped;
  }
  const TempFolder own;
  if (options.work.empty()) options.work = own.path();
  Scale(options).run_all();
  return 0;
}

}  // namespace
}  // namespace bygone::test

int main(int argc, char** argv) {
  try {
    return bygone::test::run_main(bygone::test::parse(argc, argv));
  } catch (const std::exception& failure) {
    fmt::print(stderr, "scale: {}\n", failure.what());
    return 1;
  }
}
