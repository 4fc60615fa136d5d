// SPDX-License-Identifier: Apache-2.0
#include "tests/year/world.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>

#include <fmt/core.h>

namespace bygone::test {

World::World(std::string folder, const WorldOptions& options)
    : folder_(std::move(folder)), options_(options), random_(options.seed) {
  for (int i = 0; i < 3000; ++i) {
    std::string word(2 + random_() % 9, ' ');
    for (char& c : word) c = static_cast<char>('a' + random_() % 26);
    words_.push_back(std::move(word));
  }
}

void World::begin() {
  for (std::uint64_t number = 0; number < options_.files; ++number) write_file(number);
  std::ofstream database(folder_ + "/database", std::ios::binary);
  for (std::uint64_t at = 0; at < options_.database_bytes; at += kPage) {
    database << text(kPage);
  }
  if (!database.flush()) throw std::runtime_error("the world does not fit: " + folder_);
}

void World::save(std::ostream& out) const { out << due_ << ' ' << random_ << '\n'; }

void World::load(std::istream& in) { in >> due_ >> random_; }

std::string World::text(std::size_t size) {
  std::string out;
  while (out.size() < size) out += words_[random_() % words_.size()] + ' ';
  out.resize(size);
  return out;
}

std::string World::path(std::uint64_t number) const {
  const std::uint64_t folder = number / kFilesAFolder;
  return fmt::format("{}/{:03}/{:05}/file-{}", folder_, folder / 100, folder, number);
}

void World::write_file(std::uint64_t number) {
  std::lognormal_distribution<double> sizes(8.0, 0.8);
  const auto size = static_cast<std::size_t>(std::clamp(sizes(random_), 100.0, 60'000.0));
  const std::filesystem::path at(path(number));
  std::filesystem::create_directories(at.parent_path());
  std::ofstream file(at, std::ios::binary | std::ios::trunc);
  file << text(size);
  if (!file.flush()) throw std::runtime_error("the world does not fit: " + at.string());
}

std::uint64_t World::hour() {
  due_ += static_cast<double>(options_.files) * options_.changed_a_day / 24;
  for (; due_ >= 1; due_ -= 1) {
    // Four changes of five hit the same fifth of the files.
    const bool hot = random_() % 5 != 0;
    const std::uint64_t fifth = std::max<std::uint64_t>(1, options_.files / 5);
    write_file(hot ? (random_() % fifth) * 5 % options_.files : random_() % options_.files);
  }
  std::fstream database(folder_ + "/database", std::ios::binary | std::ios::in | std::ios::out);
  std::set<std::uint64_t> pages;
  for (std::uint64_t i = 0; i < options_.pages_an_hour; ++i) {
    const std::uint64_t page = random_() % (options_.database_bytes / kPage);
    pages.insert(page);
    // A few rows of the page, as an UPDATE leaves it.
    for (int row = 0; row < 3; ++row) {
      database.seekp(static_cast<std::streamoff>(page * kPage + random_() % (kPage - 100)));
      database << text(80);
    }
  }
  if (!database.flush()) throw std::runtime_error("writing the database failed");
  return pages.size();
}

}  // namespace bygone::test
