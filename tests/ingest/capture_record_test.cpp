// SPDX-License-Identifier: Apache-2.0
#include "ingest/capture_record.h"

#include <filesystem>
#include <fstream>

#include "tests/support/expect.h"
#include "tests/support/temp_folder.h"

namespace bygone::ingest {
namespace {

TEST(CaptureRecord, ComesBackAsItWasWritten) {
  test::TempFolder folder;
  CaptureRecord written(folder / "state");
  EXPECT_OK(written.read());
  EXPECT_OK(written.add("a", HeldCapture::whole));
  EXPECT_OK(written.add("b \"quoted\"", HeldCapture::partly));
  CaptureRecord read(folder / "state");
  ASSERT_OK(read.read());
  EXPECT_EQ(read.find("a"), HeldCapture::whole);
  EXPECT_EQ(read.find("b \"quoted\""), HeldCapture::partly);
  EXPECT_EQ(read.find("c"), std::nullopt);
}

TEST(CaptureRecord, ForgetsAllButWhatIsToBeKept) {
  test::TempFolder folder;
  CaptureRecord written(folder.path());
  EXPECT_OK(written.keep_only({}));
  EXPECT_FALSE(std::filesystem::exists(folder / "held")) << "nothing has changed";
  EXPECT_OK(written.add("a", HeldCapture::whole));
  EXPECT_OK(written.add("b", HeldCapture::partly));
  EXPECT_OK(written.keep_only({"b", "c"}));
  EXPECT_EQ(written.find("a"), std::nullopt);
  CaptureRecord read(folder.path());
  ASSERT_OK(read.read());
  EXPECT_EQ(read.find("a"), std::nullopt);
  EXPECT_EQ(read.find("b"), HeldCapture::partly);
}

TEST(CaptureRecord, KnowsNothingOfWhatItCannotRead) {
  test::TempFolder folder;
  CaptureRecord record(folder.path());
  EXPECT_OK(record.add("a", HeldCapture::whole));
  for (const char* text :
       {"", "{", "[]", R"({"version":1,"captured":7})", R"({"version":1,"captured":[{"id":"a"}]})",
        R"({"version":1,"captured":[{"id":"a","whole":true},{"whole":true}]})"}) {
    std::ofstream(folder / "held/captured.json") << text;
    EXPECT_CODE(Code::corrupt, record.read()) << text;
    EXPECT_EQ(record.find("a"), std::nullopt) << text;
  }
  std::ofstream(folder / "held/captured.json") << R"({"version":2})";
  EXPECT_CODE(Code::unsupported, record.read());
}

TEST(CaptureRecord, WritesLaterWhatItCouldNotWrite) {
  test::TempFolder folder;
  std::ofstream(folder / "held") << "in the way";
  CaptureRecord record(folder.path());
  EXPECT_FALSE(record.add("a", HeldCapture::partly).ok());
  EXPECT_EQ(record.find("a"), HeldCapture::partly);
  EXPECT_FALSE(record.keep_only({"a"}).ok());
  std::filesystem::remove(folder / "held");
  EXPECT_OK(record.keep_only({"a"}));
  CaptureRecord read(folder.path());
  ASSERT_OK(read.read());
  EXPECT_EQ(read.find("a"), HeldCapture::partly);
}

}  // namespace
}  // namespace bygone::ingest
