// SPDX-License-Identifier: Apache-2.0
#include "ingest/suggest.h"

#include <algorithm>

namespace bygone::ingest {

// Optimal string alignment: three rows of the usual table.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string nearest(std::string_view typed, const std::vector<std::string>& known) {
  std::string best;
  std::size_t least = std::max<std::size_t>(typed.size() >= 4 ? 2 : 1, typed.size() / 3) + 1;
  for (const std::string& word : known) {
    const bool begins = typed.size() >= 2 && word.starts_with(typed);
    const std::size_t d = begins ? 1 : distance(typed, word);
    if (d < least) {
      least = d;
      best = word;
    }
  }
  return best;
}

}  // namespace bygone::ingest
