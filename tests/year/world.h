// SPDX-License-Identifier: Apache-2.0
//
// What the year test backs up: a tree of small files of which a few change every hour, most of them
// over and over (80/20), and a file like a database's in which scattered pages are written. The
// same seed gives the same year. One thread.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <random>
#include <string>
#include <vector>

namespace bygone::test {

struct WorldOptions {
  std::uint64_t files = 20'000;
  std::uint64_t database_bytes = 200u << 20;
  double changed_a_day = 0.01;        // of the files
  std::uint64_t pages_an_hour = 100;  // of 8 KiB
  std::uint64_t seed = 1;
};

class World {
 public:
  static constexpr std::size_t kPage = 8192;
  static constexpr std::size_t kFilesAFolder = 11;

  World(std::string folder, const WorldOptions& options);
  // Fills the folder, which must be there and empty.
  void begin();
  // Where it stands, beside what is in its folder; and back there.
  void save(std::ostream& out) const;
  void load(std::istream& in);
  // An hour goes by. Returns the database pages written.
  std::uint64_t hour();

 private:
  void write_file(std::uint64_t number);
  std::string text(std::size_t size);
  [[nodiscard]] std::string path(std::uint64_t number) const;

  std::string folder_;
  WorldOptions options_;
  std::mt19937_64 random_;
  std::vector<std::string> words_;
  double due_ = 0;  // files that should have changed by now
};

}  // namespace bygone::test
