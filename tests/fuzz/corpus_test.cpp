// SPDX-License-Identifier: Apache-2.0
//
// The fuzz targets without libFuzzer, in every build: each input that was ever kept, and mutations
// of it. BYGONE_SEED repeats a run.
#include <algorithm>
#include <filesystem>
#include <random>

#include <gtest/gtest.h>

#include "tests/fuzz/targets.h"
#include "tests/support/damage.h"
#include "tests/support/torture.h"

namespace bygone::test {
namespace {

std::vector<Bytes> corpus_of(const FuzzTarget& target) {
  std::vector<std::string> paths;
  const auto folder = std::filesystem::path(BYGONE_CORPUS) / target.name;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> corpus;
  for (const std::string& path : paths) corpus.push_back(read_whole(path));
  return corpus;
}

class Fuzz : public testing::TestWithParam<FuzzTarget> {};

TEST_P(Fuzz, TakesEveryInputThatWasKept) {
  const auto corpus = corpus_of(GetParam());
  ASSERT_FALSE(corpus.empty());
  for (const Bytes& input : corpus) GetParam().run(input);
}

TEST_P(Fuzz, TakesMutationsOfThem) {
  const std::uint64_t seed = seed_of_run();
  SCOPED_TRACE("BYGONE_SEED=" + std::to_string(seed));
  RecordProperty("seed", std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto corpus = corpus_of(GetParam());
  const unsigned rounds = kThreadSanitized ? 2000 / kFewer : 2000;
  for (unsigned round = 0; round < rounds; ++round) {
    Bytes input = corpus[random() % corpus.size()];
    for (std::uint64_t edits = 1 + random() % 4; edits > 0 && !input.empty(); --edits) {
      const std::size_t at = random() % input.size();
      switch (random() % 5) {
        case 0:
          input[at] = static_cast<std::uint8_t>(random());
          break;
        case 1:
          input[at] ^= static_cast<std::uint8_t>(1u << (random() % 8));
          break;
        case 2:
          input.resize(at);
          break;
        case 3:
          input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), random() % 20, 0xff);
          break;
        default:  // a length or count that is as large as can be
          std::fill_n(input.begin() + static_cast<std::ptrdiff_t>(at),
                      std::min<std::size_t>(8, input.size() - at), std::uint8_t{0xff});
      }
    }
    GetParam().run(input);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Fuzz, testing::ValuesIn(fuzz_targets()), [](const auto& target) {
  std::string name = target.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace bygone::test
