// SPDX-License-Identifier: Apache-2.0
//
// A folder tree in a map, a backup of it and its restore: the smallest client of the store, for
// tests of everything below. One thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "store/repository.h"
#include "store/session.h"

namespace bygone::test {

// Path below the root ("a/b.txt") to content. A path that ends in '/' is an empty folder.
using MemoryTree = std::map<std::string, Bytes>;

// Reproducible bytes that do not compress.
[[nodiscard]] Bytes noise(std::size_t size, std::uint64_t seed);
// Reproducible text that does.
[[nodiscard]] Bytes prose(std::size_t size, std::uint64_t seed);

[[nodiscard]] store::Secret key_file(std::string_view contents = "the key file of the tests");
[[nodiscard]] store::Secret passphrase(std::string_view text);

struct BackUpOptions {
  std::string source = "db";
  Nanoseconds instant = 1'710'000'000 * kSecond;
  store::Compression compression = store::Compression::fastest;
};

// One session, one snapshot with one volume. A chunk that is new where the source's snapshot before
// had another one is stored as a delta on that where the store allows it.
Result<store::Snapshot> back_up(store::Repository& repository, const MemoryTree& tree,
                                const BackUpOptions& options = {});
// The same within a session of the caller.
Result<store::Snapshot> back_up(store::Session& session, const MemoryTree& tree,
                                const BackUpOptions& options = {});
Result<MemoryTree> read_back(store::Repository& repository, const store::Snapshot& snapshot);
// What is wrong with the snapshots of a repository that should have just these; empty for nothing.
[[nodiscard]] std::string fault_of_trees(store::Repository& repository,
                                         const std::map<SnapshotId, MemoryTree>& trees);

// A repository in a new folder, opened with key_file(); its index is in the repository unless
// `index_dir` says otherwise.
std::unique_ptr<store::Repository> new_repository(const std::string& path);
// The same with the keys of tests/golden, which cut a content at the same places in every run: for
// tests that count chunks.
[[nodiscard]] std::unique_ptr<store::Repository> fixed_repository(const std::string& path);
std::unique_ptr<store::Repository> reopen(const std::string& path,
                                          const std::string& index_dir = {});

}  // namespace bygone::test
