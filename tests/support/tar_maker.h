// SPDX-License-Identifier: Apache-2.0
//
// Tar archives byte by byte, good ones and such that no engine would make. One thread.
#pragma once

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "store/base/bytes.h"

namespace bygone::test {

class TarMaker {
 public:
  struct Fields {
    char type = '0';
    std::string link = {};
    std::uint64_t size = 0;  // as the header claims
    unsigned mode = 0644;
    std::string prefix = {};
  };

  // A header alone, with a good checksum.
  TarMaker& header(std::string_view name, const Fields& fields) {
    std::string block(512, '\0');
    const auto put = [&](std::size_t at, std::string_view text) {
      block.replace(at, text.size(), text);
    };
    put(0, name.substr(0, 100));
    put(100, octal(fields.mode, 7));
    put(108, octal(0, 7));
    put(116, octal(0, 7));
    put(124, size_field(fields.size));
    put(136, octal(1700000000, 11));
    block[156] = fields.type;
    put(157, std::string_view(fields.link).substr(0, 100));
    put(257, std::string_view("ustar\0"
                              "00",
                              8));
    put(345, fields.prefix);
    put(148, "        ");
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    put(148, octal(sum, 6) + std::string("\0 ", 2));
    bytes_ += block;
    return *this;
  }
  TarMaker& folder(std::string_view name) { return header(name, {.type = '5', .mode = 0755}); }
  TarMaker& file(std::string_view name, std::string_view content) {
    header(name, {.size = content.size()});
    return padded(content);
  }
  TarMaker& link(std::string_view name, const std::string& to) {
    return header(name, {.type = '1', .link = to});
  }
  // What a PAX header says of the next entry: "path=x".
  TarMaker& pax(const std::vector<std::string>& records) {
    std::string text;
    for (const std::string& record : records) {
      std::size_t length = record.size() + 3;
      while (std::to_string(length).size() + record.size() + 2 != length) ++length;
      text += std::to_string(length) + " " + record + "\n";
    }
    header("pax", {.type = 'x', .size = text.size()});
    return padded(text);
  }
  TarMaker& padded(std::string_view content) {
    bytes_ += content;
    bytes_.resize((bytes_.size() + 511) / 512 * 512, '\0');
    return *this;
  }
  TarMaker& end() {
    bytes_.append(1024, '\0');
    return *this;
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  static std::string octal(std::uint64_t value, int digits) {
    char text[32];
    std::snprintf(text, sizeof text, "%0*llo", digits, static_cast<unsigned long long>(value));
    return text;
  }
  static std::string size_field(std::uint64_t size) {
    if (size < (1ULL << 33U)) return octal(size, 11);
    std::string field(12, '\0');  // base 256
    field[0] = '\x80';
    for (std::size_t i = 11; i > 3; --i, size >>= 8U) {
      field[i] = static_cast<char>(size & 0xffU);
    }
    return field;
  }
  std::string bytes_;
};

}  // namespace bygone::test
