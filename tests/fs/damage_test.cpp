// SPDX-License-Identifier: Apache-2.0
//
// A repository in which a bit flipped, seen through the mount: right bytes, or EIO for what is
// damaged and for nothing else; never wrong bytes, never a crash. BYGONE_FLIPS says how many,
// BYGONE_SEED repeats a run.
#include "tests/support/damage.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "fs/ops.h"
#include "store/chunk_store.h"
#include "tests/support/expect.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/flips.h"
#include "tests/support/torture.h"

namespace bygone::fs {
namespace {

namespace filesystem = std::filesystem;
using store::ChunkKind;
using test::Flip;
using test::Flips;
using test::FuseReply;
using test::value_of;

test::Tally bits_flipped("bits flipped below a mount");

constexpr std::uint32_t kPage = 4096;  // what the kernel keeps, or asks for again by itself
constexpr std::uint32_t kRequest = 32 * kPage;

// A mount as far as it goes without the kernel, with no memory of what was read before.
struct Mount {
  explicit Mount(std::unique_ptr<store::Repository> of)
      : repository(std::move(of)), snapshots(*repository) {
    auto opened =
        Namespace::open(snapshots, repository->trees(), repository->keys(), NamespaceOptions());
    if (!opened) return;
    names = std::move(opened).value();
    reader.emplace(repository->trees(), repository->chunks());
    service.emplace(Service{*names, *reader});
    kernel.emplace(*service);
  }

  std::unique_ptr<store::Repository> repository;
  RepositorySnapshots snapshots;
  std::unique_ptr<Namespace> names;
  std::optional<Reader> reader;
  std::optional<Service> service;
  std::optional<test::FakeKernel> kernel;
};

// Where the content of each file lies.
struct Part {
  std::uint64_t begin, end;
  ChunkId chunk;
};

class Damage : public testing::Test {
 protected:
  Damage() {
    const auto repository = test::reopen(flips_.path());
    for (const auto& [id, known] : flips_.known()) {
      if (known.forgotten) continue;
      for (const auto& [name, bytes] : known.tree) find_runs(*repository, known.snapshot, name);
    }
    for (const char* region : {"packs/data", "packs/page"}) {
      for (const std::string& file : flips_.regions().at(region)) {
        const auto id = PackId::from_hex_text(filesystem::path(file).filename().string());
        packs_[file] = value_of(repository->chunks().pack(*id))->records();
      }
    }
  }

  static std::string path_of(const store::Snapshot& snapshot, const std::string& name) {
    return snapshot.display_name + "/" + snapshot.listed_name + "/data/" + name;
  }

  void find_runs(store::Repository& repository, const store::Snapshot& snapshot,
                 const std::string& name) {
    store::Entry at = snapshot.volumes.at(0).root;
    for (std::size_t from = 0; from < name.size();) {
      const std::size_t slash = std::min(name.find('/', from), name.size());
      at = *value_of(repository.trees().lookup(at, name.substr(from, slash - from)));
      from = slash + 1;
    }
    auto& runs = runs_[path_of(snapshot, name)];
    if (at.content == store::Entry::Content::inline_bytes) return;
    value_of(repository.trees().extents(
        at, 0, at.size, [&](std::uint64_t begin, const store::Extent& extent) {
          runs.push_back({begin, begin + extent.length, extent.chunk});
          return true;
        }));
  }

  // What the flip may break: the record that it hit or, outside of all, none or the whole pack; and
  // every delta on that. `exact`: the first, and none of it has a second copy.
  std::set<ChunkId> broken_by(const Flip& flip, bool& exact) const {
    std::set<ChunkId> broken;
    for (const store::Record& record : packs_.at(flip.file)) {
      const bool hit = flip.at >= record.offset && flip.at < record.offset + record.pack_bytes();
      if (hit) broken.insert(record.id);
    }
    exact = !broken.empty();
    if (!exact) {
      for (const store::Record& record : packs_.at(flip.file)) broken.insert(record.id);
    }
    std::map<ChunkId, int> copies;
    for (std::size_t before = 0; before != broken.size();) {
      before = broken.size();
      copies.clear();
      for (const auto& [file, records] : packs_) {
        for (const store::Record& record : records) {
          if (record.base && broken.contains(*record.base)) broken.insert(record.id);
          ++copies[record.id];
        }
      }
    }
    for (const ChunkId& id : broken) exact = exact && copies.at(id) == 1;
    return broken;
  }

  // Reads [at, at + size) as the kernel does: what fails as a whole is asked for page by page.
  // What is wrong; empty when nothing is.
  std::string read(Mount& mount, std::uint64_t node, const Bytes& known,
                   std::set<std::uint64_t>& failed) {
    for (std::uint64_t at = 0; at < known.size(); at += kRequest) {
      const auto expect = [&](const FuseReply& reply, std::uint64_t from,
                              std::uint64_t size) -> std::string {
        const ByteView right = ByteView(known).subspan(from, std::min(size, known.size() - from));
        return std::equal(right.begin(), right.end(), reply.body.begin(), reply.body.end())
                   ? ""
                   : "wrong bytes";
      };
      const FuseReply all = mount.kernel->read(node, at, kRequest);
      if (all.error == 0) {
        if (std::string fault = expect(all, at, kRequest); !fault.empty()) return fault;
        continue;
      }
      const std::uint64_t end = std::min<std::uint64_t>(at + kRequest, known.size());
      for (std::uint64_t page = at; page < end; page += kPage) {
        const FuseReply reply = mount.kernel->read(node, page, kPage);
        if (reply.error == EIO) {
          failed.insert(page);
        } else if (reply.error != 0) {
          return "an error that is not EIO: " + std::to_string(reply.error);
        } else if (std::string fault = expect(reply, page, kPage); !fault.empty()) {
          return fault;
        }
      }
    }
    return "";
  }

  static bool overlaps(const Part& run, std::uint64_t page) {
    return run.begin < page + kPage && run.end > page;
  }

  // `broken`: nothing where any error will do; `exact`: what is in it must fail.
  std::string judge(const std::string& path, const std::set<std::uint64_t>& failed,
                    const std::set<ChunkId>& broken, bool exact) const {
    for (const std::uint64_t page : failed) {
      const auto& runs = runs_.at(path);
      const bool is_broken = std::any_of(runs.begin(), runs.end(), [&](const Part& run) {
        return overlaps(run, page) && broken.contains(run.chunk);
      });
      if (!is_broken) return "EIO beside what is damaged, at " + std::to_string(page);
    }
    if (!exact) return "";
    for (const Part& run : runs_.at(path)) {
      if (!broken.contains(run.chunk)) continue;
      for (std::uint64_t page = run.begin / kPage * kPage; page < run.end; page += kPage) {
        if (!failed.contains(page)) return "no EIO for what is damaged, at " + std::to_string(page);
      }
    }
    return "";
  }

  // Walks all that should be there. What is wrong; empty when nothing is.
  std::string look(const Flip& flip) {
    auto repository = store::Repository::open(flips_.path(), test::key_file());
    if (!repository) return flip.region == "keys" ? "" : "no opening";
    Mount mount(std::move(repository).value());
    if (!mount.kernel) return "no mount";
    const bool in_data = flip.region == "packs/data";
    const bool in_pages = flip.region == "packs/page";
    bool exact = false;
    const std::set<ChunkId> broken =
        in_data || in_pages ? broken_by(flip, exact) : std::set<ChunkId>();
    if (exact && in_data) ++exact_;
    for (const auto& [id, known] : flips_.known()) {
      const bool may_be_missing = flip.file.find(id.hex()) != std::string::npos;
      const std::string folder = known.snapshot.display_name + "/" + known.snapshot.listed_name;
      const bool there = is_listed(mount, known.snapshot);
      if (there == known.forgotten) {
        if (!may_be_missing) return folder + (there ? " is there" : " is missing");
        continue;
      }
      if (!there) continue;
      if (std::string name = stranger(mount, known); !name.empty()) return name + " never was";
      for (const auto& [name, bytes] : known.tree) {
        const std::string path = path_of(known.snapshot, name);
        const std::uint64_t node = mount.kernel->walk(path);
        if (node == 0) {
          if (!in_pages || lookup_error(mount, path) != EIO) return path + " is missing";
          continue;
        }
        std::set<std::uint64_t> failed;
        if (std::string fault = read(mount, node, bytes, failed); !fault.empty()) {
          return path + ": " + fault;
        }
        if (in_pages && !failed.empty()) continue;  // its extents are in pages, too
        if (std::string fault = judge(path, failed, broken, exact && in_data); !fault.empty()) {
          return path + ": " + fault;
        }
      }
    }
    return "";
  }

  // A name in the folder of its source; an instant that is not listed leads to the one before.
  static bool is_listed(Mount& mount, const store::Snapshot& snapshot) {
    const std::uint64_t source = mount.kernel->walk(snapshot.display_name);
    if (source == 0) return false;
    const auto entries = mount.kernel->list(source);
    return std::any_of(entries.begin(), entries.end(), [&](const test::FuseEntry& entry) {
      return entry.name == snapshot.listed_name;
    });
  }

  // A listed name that was never captured.
  static std::string stranger(Mount& mount, const Flips::Known& known) {
    const std::uint64_t folder = mount.kernel->walk(path_of(known.snapshot, ""));
    if (folder == 0) return "";
    for (const test::FuseEntry& entry : mount.kernel->list(folder)) {
      const auto& tree = known.tree;
      const bool is_known = entry.name == "." || entry.name == ".." ||
                            std::any_of(tree.begin(), tree.end(), [&](const auto& each) {
                              return each.first.substr(0, each.first.find('/')) == entry.name;
                            });
      if (!is_known) return entry.name;
    }
    return "";
  }

  // Of the first name of the path that is not found.
  static int lookup_error(Mount& mount, const std::string& path) {
    std::uint64_t at = FUSE_ROOT_ID;
    for (std::size_t from = 0; from < path.size();) {
      const std::size_t slash = std::min(path.find('/', from), path.size());
      const FuseReply reply = mount.kernel->lookup(at, path.substr(from, slash - from));
      if (reply.error != 0) return reply.error;
      at = reply.as<fuse_entry_out>().nodeid;
      if (at == 0) return ENOENT;
      from = slash + 1;
    }
    return 0;
  }

  const Flips flips_;
  std::size_t exact_ = 0;  // flips that must have given EIO
  std::map<std::string, std::vector<Part>> runs_;
  std::map<std::string, std::vector<store::Record>> packs_;
};

TEST_F(Damage, OfAnyBitGivesRightBytesOrEioForThatRangeAlone) {
  const std::uint64_t seed = test::seed_of_run();
  const std::uint64_t flips = test::number_from("BYGONE_FLIPS").value_or(390 / test::kFewer);
  std::mt19937_64 random(seed);
  SCOPED_TRACE("BYGONE_SEED=" + std::to_string(seed));
  testing::internal::CaptureStderr();
  std::vector<Flip> all;
  for (std::uint64_t i = 0; i < flips; ++i) {
    Flip flip = flips_.choose(i, random);
    // LMDB may die of it: tests/store/bit_flip_test.cpp.
    if (flip.region != "index") all.push_back(std::move(flip));
  }
  // And once in each record of file content.
  for (const std::string& file : flips_.regions().at("packs/data")) {
    for (const store::Record& record : packs_.at(file)) {
      const std::uint64_t at = record.offset + random() % record.pack_bytes();
      all.push_back({.region = "packs/data", .file = file, .at = at, .bit = 3});
    }
  }
  std::string failure;
  for (const Flip& flip : all) {
    flips_.flip(flip);
    failure = look(flip);
    flips_.put_back(flip);
    bits_flipped.add();
    if (failure.empty()) continue;
    failure +=
        "; " + flip.file + " byte " + std::to_string(flip.at) + " bit " + std::to_string(flip.bit);
    break;
  }
  static_cast<void>(testing::internal::GetCapturedStderr());
  EXPECT_EQ(failure, "");
  EXPECT_GT(exact_, 2u) << "hardly any of them cost anything";
}

// Whoever reads the log knows what to look for, and where.
TEST_F(Damage, IsLoggedWithPathChunkAndPack) {
  const auto& all = flips_.known();
  const auto& known = std::max_element(all.begin(), all.end(), [](const auto& a, const auto& b) {
                        return a.second.snapshot.instant < b.second.snapshot.instant;
                      })->second;
  const std::string path = path_of(known.snapshot, "only");
  const Part& run = runs_.at(path).at(0);
  struct Case {
    const char* what;
    bool in_record;
  };
  for (const Case& each : {Case{"its record", true}, Case{"the end of its pack", false}}) {
    SCOPED_TRACE(each.what);
    Flip flip{.region = "packs/data"};
    for (const auto& [file, records] : packs_) {
      for (const store::Record& record : records) {
        if (record.id != run.chunk) continue;
        flip.file = file;
        flip.at = each.in_record ? record.offset + 300 : flips_.bytes_of(file).size() - 1;
      }
    }
    ASSERT_FALSE(flip.file.empty());
    flips_.flip(flip);
    testing::internal::CaptureStderr();
    {
      Mount mount(test::reopen(flips_.path()));
      EXPECT_EQ(mount.kernel->read(mount.kernel->walk(path), run.begin, kPage).error, EIO);
    }
    const std::string log = testing::internal::GetCapturedStderr();
    const std::string pack = filesystem::path(flip.file).filename().string();
    for (const std::string& part : {path, run.chunk.hex(), pack}) {
      EXPECT_NE(log.find(part), std::string::npos) << part << " is not in: " << log;
    }
    flips_.put_back(flip);
  }
}

}  // namespace
}  // namespace bygone::fs
