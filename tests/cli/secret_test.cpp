// SPDX-License-Identifier: Apache-2.0
#include "cli/secret.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

namespace bygone::cli {
namespace {

const char* const kVariables[] = {"BYGONE_PASSWORD", "BYGONE_PASSWORD_FILE",
                                  "BYGONE_PASSWORD_COMMAND", "BYGONE_KEY_FILE"};

class SecretTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store::init_crypto().ok());
    for (const char* name : kVariables) unsetenv(name);
    folder_ = (std::filesystem::temp_directory_path() / "bygone-secret-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override {
    for (const char* name : kVariables) unsetenv(name);
    std::filesystem::remove_all(folder_);
  }
  std::string file(const std::string& name, const std::string& bytes) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  static std::string text(const store::Secret& secret) {
    return std::string(as_text(secret.bytes.view()));
  }
  static Result<store::Secret> read(const std::string& key_file = "", Ask ask = Ask::once) {
    return read_secret(take_secret_sources(key_file), ask, "/srv/repository");
  }

  std::string folder_;
};

TEST_F(SecretTest, TakesThePassphraseOutOfTheEnvironment) {
  setenv("BYGONE_PASSWORD", "hunter2", 1);
  const char* const place = std::getenv("BYGONE_PASSWORD");
  const auto secret = read();
  ASSERT_TRUE(secret.ok());
  EXPECT_EQ(text(*secret), "hunter2");
  EXPECT_EQ(secret->kind, store::Secret::Kind::passphrase);
  EXPECT_EQ(std::getenv("BYGONE_PASSWORD"), nullptr);
  EXPECT_EQ(std::string(place, 7), std::string(7, '\0'));
}

TEST_F(SecretTest, TakesOneLineEndOffAFileOrACommand) {
  struct Case {
    const char* bytes;
    const char* wanted;
  };
  const Case cases[] = {{"secret", "secret"},
                        {"secret\n", "secret"},
                        {"secret\r\n", "secret"},
                        {"secret\n\n", "secret\n"},
                        {" two words \n", " two words "}};
  for (const Case& c : cases) {
    const std::string path = file("password", c.bytes);
    setenv("BYGONE_PASSWORD_FILE", path.c_str(), 1);
    const auto from_file = read();
    ASSERT_TRUE(from_file.ok());
    EXPECT_EQ(text(*from_file), c.wanted);
    unsetenv("BYGONE_PASSWORD_FILE");
    setenv("BYGONE_PASSWORD_COMMAND", ("cat " + path).c_str(), 1);
    const auto from_command = read();
    ASSERT_TRUE(from_command.ok());
    EXPECT_EQ(text(*from_command), c.wanted);
    unsetenv("BYGONE_PASSWORD_COMMAND");
  }
}

TEST_F(SecretTest, TakesAKeyFileAsItIs) {
  const std::string bytes = std::string(31, '\0') + "\n";
  const auto secret = read(file("key", bytes));
  ASSERT_TRUE(secret.ok());
  EXPECT_EQ(secret->kind, store::Secret::Kind::key_file);
  EXPECT_EQ(text(*secret), bytes);
}

TEST_F(SecretTest, PrefersTheOptionToTheVariableOfTheSameKind) {
  setenv("BYGONE_KEY_FILE", "/nowhere", 1);
  const auto secret = read(file("key", "of the option"));
  ASSERT_TRUE(secret.ok());
  EXPECT_EQ(text(*secret), "of the option");
}

TEST_F(SecretTest, RefusesTwoSourcesAndNamesThem) {
  for (const char* first : kVariables) {
    for (const char* second : kVariables) {
      if (first == second) continue;
      setenv(first, "x", 1);
      setenv(second, "y", 1);
      const auto checked = check_sources(take_secret_sources(""));
      ASSERT_FALSE(checked.ok()) << first << " " << second;
      EXPECT_EQ(checked.error().code, Code::invalid);
      EXPECT_NE(checked.error().message.find(first), std::string::npos);
      EXPECT_NE(checked.error().message.find(second), std::string::npos);
      unsetenv(first);
      unsetenv(second);
    }
  }
  setenv("BYGONE_PASSWORD", "x", 1);
  const auto checked = check_sources(take_secret_sources("/key"));
  ASSERT_FALSE(checked.ok());
  EXPECT_NE(checked.error().message.find("--key-file"), std::string::npos);
}

TEST_F(SecretTest, TakesAnEmptyVariableForNone) {
  setenv("BYGONE_PASSWORD", "", 1);
  setenv("BYGONE_PASSWORD_COMMAND", "echo secret", 1);
  const auto secret = read();
  ASSERT_TRUE(secret.ok());
  EXPECT_EQ(text(*secret), "secret");
}

TEST_F(SecretTest, NamesWhatFailed) {
  struct Case {
    const char* variable;
    std::string value;
    const char* wanted;
  };
  const Case cases[] = {
      {"BYGONE_PASSWORD_FILE", folder_ + "/absent", "absent"},
      {"BYGONE_PASSWORD_FILE", folder_, "passphrase file"},
      {"BYGONE_PASSWORD_FILE", file("empty", "\n"), "empty"},
      {"BYGONE_PASSWORD_FILE", file("long", std::string(5000, 'x')), "4096"},
      {"BYGONE_PASSWORD_COMMAND", "exit 7", "exit code 7"},
      {"BYGONE_PASSWORD_COMMAND", "kill -9 $$", "signal 9"},
      {"BYGONE_PASSWORD_COMMAND", "true", "empty"},
      {"BYGONE_KEY_FILE", folder_ + "/absent", "absent"},
  };
  for (const Case& c : cases) {
    setenv(c.variable, c.value.c_str(), 1);
    const auto secret = read();
    ASSERT_FALSE(secret.ok()) << c.value;
    EXPECT_NE(secret.error().message.find(c.wanted), std::string::npos) << secret.error().message;
    unsetenv(c.variable);
  }
}

TEST_F(SecretTest, WantsALongEnoughKeyForANewRepository) {
  const std::string path = file("key", "short");
  EXPECT_TRUE(read(path, Ask::once).ok());
  const auto secret = read(path, Ask::twice);
  ASSERT_FALSE(secret.ok());
  EXPECT_NE(secret.error().message.find("hint: head -c 32 /dev/urandom"), std::string::npos);
}

TEST_F(SecretTest, NeverShowsASecretInItsDescription) {
  setenv("BYGONE_PASSWORD", "hunter2", 1);
  EXPECT_EQ(describe_source(take_secret_sources("")).find("hunter2"), std::string::npos);
  setenv("BYGONE_PASSWORD_COMMAND", "echo hunter2", 1);
  EXPECT_EQ(describe_source(take_secret_sources("")).find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace bygone::cli
