// SPDX-License-Identifier: Apache-2.0
//
// The kernel's side of FUSE over a socket pair: sends requests to a real session of ours and gives
// the replies, without mount, root or /dev/fuse. One thread uses it; the session runs on its own.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <linux/fuse.h>

#include "fs/session.h"
#include "store/base/bytes.h"

namespace bygone::test {

struct FuseReply {
  int error = 0;  // a positive errno, or 0
  Bytes body;

  // The body's beginning as a struct of <linux/fuse.h>; zeros where it is too short.
  template <class T>
  [[nodiscard]] T as(std::size_t offset = 0) const {
    T out{};
    if (body.size() >= offset + sizeof(T)) std::memcpy(&out, body.data() + offset, sizeof(T));
    return out;
  }
  [[nodiscard]] std::string_view text() const { return as_text(body); }
};

// An entry of a READDIRPLUS reply.
struct FuseEntry {
  std::string name;
  fuse_entry_out entry{};
  std::uint64_t ino = 0;  // as a plain listing shows it
};

class FakeKernel {
 public:
  // Attaches a session and sends INIT.
  explicit FakeKernel(fs::Service& service);
  // Sends DESTROY and waits for the session's threads.
  ~FakeKernel();
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

  [[nodiscard]] const fuse_init_out& init() const { return init_; }
  [[nodiscard]] fs::Session& session() { return *session_; }
  // The user in whose name requests come.
  void become(std::uint32_t uid) { uid_ = uid; }

  FuseReply request(std::uint32_t opcode, std::uint64_t node, ByteView body);
  template <class T>
  FuseReply request(std::uint32_t opcode, std::uint64_t node, const T& body,
                    std::string_view tail = {}) {
    Bytes bytes(sizeof(T) + tail.size());
    std::memcpy(bytes.data(), &body, sizeof(T));
    std::copy(tail.begin(), tail.end(), bytes.begin() + sizeof(T));
    return request(opcode, node, ByteView(bytes));
  }
  FuseReply lookup(std::uint64_t parent, const std::string& name);
  // The node at a path of names; 0 when one of them is not there.
  std::uint64_t walk(const std::string& path);
  FuseReply read(std::uint64_t node, std::uint64_t offset, std::uint32_t size);
  FuseReply getxattr(std::uint64_t node, const std::string& name, std::uint32_t size);
  FuseReply listxattr(std::uint64_t node, std::uint32_t size);
  FuseReply lseek(std::uint64_t node, std::uint64_t offset, std::uint32_t whence);
  // No reply comes for it.
  void forget(std::uint64_t node, std::uint64_t count);
  // OPENDIR, READDIRPLUS until the end, RELEASEDIR.
  std::vector<FuseEntry> list(std::uint64_t node, std::uint32_t buffer_bytes = 4096);
  // The next notification (code and body); waits for it.
  std::pair<std::int32_t, Bytes> notice();

 private:
  std::uint64_t send(std::uint32_t opcode, std::uint64_t node, ByteView body);
  Bytes receive();

  Bytes buffer_ = Bytes(2u << 20);  // of one reply
  std::unique_ptr<fs::Session> session_;
  int socket_ = -1;
  std::thread server_;
  std::uint64_t unique_ = 0;
  std::uint32_t uid_ = 0;
  fuse_init_out init_{};
  std::vector<std::pair<std::int32_t, Bytes>> notices_;
};

}  // namespace bygone::test
