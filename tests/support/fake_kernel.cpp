// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_kernel.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bygone::test {
namespace {

constexpr int kPatienceMs = 20'000;

[[noreturn]] void broken(const char* what) {
  std::fprintf(stderr, "fake kernel: %s\n", what);
  std::abort();
}

}  // namespace

FakeKernel::FakeKernel(fs::Service& service) {
  auto session = fs::Session::create(service, "ro");
  if (!session.ok()) broken(session.error().message.c_str());
  session_ = *std::move(session);
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0)
    broken("no sockets");
  // One record is one reply: with the default buffer a reply of 1 MiB never arrives.
  const int bytes = 4 << 20;
  for (const int fd : pair) {
    if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0) {
      ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
  }
  socket_ = pair[0];
  if (!session_->attach(pair[1]).ok()) broken("the session refuses a socket");
  server_ = std::thread([this] {
    if (!session_->serve().ok()) broken("the session failed");
  });
  fuse_init_in hello{};
  hello.major = FUSE_KERNEL_VERSION;
  hello.minor = FUSE_KERNEL_MINOR_VERSION;
  hello.max_readahead = 131072;
  hello.flags = ~0u & ~(FUSE_INIT_EXT | FUSE_INIT_RESERVED);
  init_ = request(FUSE_INIT, 0, hello).as<fuse_init_out>();
}

FakeKernel::~FakeKernel() {
  request(FUSE_DESTROY, 0, ByteView());
  session_->stop();
  ::shutdown(socket_, SHUT_RDWR);
  ::close(socket_);
  server_.join();
}

std::uint64_t FakeKernel::send(std::uint32_t opcode, std::uint64_t node, ByteView body) {
  fuse_in_header header{};
  header.len = static_cast<std::uint32_t>(sizeof header + body.size());
  header.opcode = opcode;
  header.unique = ++unique_;
  header.nodeid = node;
  header.uid = header.gid = uid_;
  Bytes record(header.len);
  std::memcpy(record.data(), &header, sizeof header);
  std::copy(body.begin(), body.end(), record.begin() + sizeof header);
  if (::send(socket_, record.data(), record.size(), MSG_NOSIGNAL) < 0) broken("sending failed");
  return header.unique;
}

Bytes FakeKernel::receive() {
  pollfd ready{socket_, POLLIN, 0};
  if (::poll(&ready, 1, kPatienceMs) <= 0) broken("no reply");
  const ssize_t n = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
  if (n < static_cast<ssize_t>(sizeof(fuse_out_header))) broken("a reply without a header");
  return {buffer_.begin(), buffer_.begin() + n};
}

FuseReply FakeKernel::request(std::uint32_t opcode, std::uint64_t node, ByteView body) {
  const std::uint64_t unique = send(opcode, node, body);
  while (true) {
    const Bytes record = receive();
    fuse_out_header header{};
    std::memcpy(&header, record.data(), sizeof header);
    Bytes rest(record.begin() + sizeof header, record.end());
    if (header.unique == unique) return {-header.error, std::move(rest)};
    if (header.unique != 0) broken("a reply to something else");
    notices_.emplace_back(header.error, std::move(rest));
  }
}

FuseReply FakeKernel::lookup(std::uint64_t parent, const std::string& name) {
  Bytes body(name.begin(), name.end());
  body.push_back(0);
  return request(FUSE_LOOKUP, parent, ByteView(body));
}

std::uint64_t FakeKernel::walk(const std::string& path) {
  std::uint64_t at = FUSE_ROOT_ID;
  for (std::size_t from = 0; from < path.size();) {
    const std::size_t end = std::min(path.find('/', from), path.size());
    const FuseReply reply = lookup(at, path.substr(from, end - from));
    at = reply.error == 0 ? reply.as<fuse_entry_out>().nodeid : 0;
    if (at == 0) return 0;
    from = end + 1;
  }
  return at;
}

FuseReply FakeKernel::read(std::uint64_t node, std::uint64_t offset, std::uint32_t size) {
  fuse_read_in in{};
  in.offset = offset;
  in.size = size;
  return request(FUSE_READ, node, in);
}

FuseReply FakeKernel::getxattr(std::uint64_t node, const std::string& name, std::uint32_t size) {
  fuse_getxattr_in in{};
  in.size = size;
  return request(FUSE_GETXATTR, node, in, name + '\0');
}

FuseReply FakeKernel::listxattr(std::uint64_t node, std::uint32_t size) {
  fuse_getxattr_in in{};
  in.size = size;
  return request(FUSE_LISTXATTR, node, in);
}

FuseReply FakeKernel::lseek(std::uint64_t node, std::uint64_t offset, std::uint32_t whence) {
  fuse_lseek_in in{};
  in.offset = offset;
  in.whence = whence;
  return request(FUSE_LSEEK, node, in);
}

void FakeKernel::forget(std::uint64_t node, std::uint64_t count) {
  const fuse_forget_in in{count};
  send(FUSE_FORGET, node, {reinterpret_cast<const std::uint8_t*>(&in), sizeof in});
}

std::vector<FuseEntry> FakeKernel::list(std::uint64_t node, std::uint32_t buffer_bytes) {
  const auto open = request(FUSE_OPENDIR, node, fuse_open_in{}).as<fuse_open_out>();
  std::vector<FuseEntry> out;
  std::uint64_t offset = 0;
  while (true) {
    fuse_read_in in{};
    in.fh = open.fh;
    in.offset = offset;
    in.size = buffer_bytes;
    const FuseReply reply = request(FUSE_READDIRPLUS, node, in);
    if (reply.error != 0 || reply.body.empty()) break;
    for (std::size_t at = 0; at < reply.body.size();) {
      const std::size_t dirent = at + offsetof(fuse_direntplus, dirent);
      const auto length = reply.as<std::uint32_t>(dirent + offsetof(fuse_dirent, namelen));
      const std::size_t name_at = at + FUSE_NAME_OFFSET_DIRENTPLUS;
      out.push_back({std::string(reply.text().substr(name_at, length)),
                     reply.as<fuse_entry_out>(at),
                     reply.as<std::uint64_t>(dirent + offsetof(fuse_dirent, ino))});
      offset = reply.as<std::uint64_t>(dirent + offsetof(fuse_dirent, off));
      at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + length);
    }
  }
  fuse_release_in release{};
  release.fh = open.fh;
  request(FUSE_RELEASEDIR, node, release);
  return out;
}

std::pair<std::int32_t, Bytes> FakeKernel::notice() {
  if (notices_.empty()) {
    const Bytes record = receive();
    fuse_out_header header{};
    std::memcpy(&header, record.data(), sizeof header);
    if (header.unique != 0) broken("a reply that nobody asked for");
    return {header.error, Bytes(record.begin() + sizeof header, record.end())};
  }
  auto first = std::move(notices_.front());
  notices_.erase(notices_.begin());
  return first;
}

}  // namespace bygone::test
