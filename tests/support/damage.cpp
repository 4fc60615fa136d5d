// SPDX-License-Identifier: Apache-2.0
#include "tests/support/damage.h"

#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace bygone::test {

Bytes read_whole(const std::string& path) {
  // Not by an iterator over the stream: crash tests read whole repositories a thousand times, and
  // thread sanitizer sees every byte.
  std::ifstream file(path, std::ios::binary);
  Bytes content(std::filesystem::file_size(path));
  file.read(reinterpret_cast<char*>(content.data()), static_cast<std::streamsize>(content.size()));
  if (!file) throw std::runtime_error("cannot read " + path);
  return content;
}

void write_whole(const std::string& path, ByteView content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

void flip_bit(const std::string& path, std::int64_t offset, unsigned bit) {
  Bytes content = read_whole(path);
  const std::int64_t at = offset < 0 ? offset + static_cast<std::int64_t>(content.size()) : offset;
  content.at(static_cast<std::size_t>(at)) ^= static_cast<std::uint8_t>(1u << bit);
  write_whole(path, content);
}

void cut_to(const std::string& path, std::uint64_t size) {
  std::filesystem::resize_file(path, size);
}

}  // namespace bygone::test
