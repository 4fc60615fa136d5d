// SPDX-License-Identifier: Apache-2.0
#include "store/base/files.h"

#include <algorithm>
#include <cerrno>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/stall.h"

namespace bygone {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

namespace {

FileInfo info_of(const struct stat& st) {
  return {.size = static_cast<std::uint64_t>(st.st_size),
          .links = static_cast<std::uint64_t>(st.st_nlink),
          .mtime_seconds = st.st_mtim.tv_sec,
          .is_directory = S_ISDIR(st.st_mode),
          .is_regular = S_ISREG(st.st_mode)};
}

class SystemFiles final : public Files {
 public:
  Result<Fd> open(const std::string& path, int flags, unsigned mode) override {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd < 0) return os_error(errno, "opening " + path);
    return Fd(fd);
  }

  Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset) override {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::pread(fd.get(), out.data() + done, out.size() - done,
                                static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return os_error(errno, "reading");
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Result<void> write_at(const Fd& fd, ByteView data, std::uint64_t offset) override {
    while (!data.empty()) {
      const ssize_t n = ::pwrite(fd.get(), data.data(), data.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return os_error(errno, "writing");
      data = data.subspan(static_cast<std::size_t>(n));
      offset += static_cast<std::uint64_t>(n);
    }
    return {};
  }

  void start_writeback(const Fd& fd, std::uint64_t offset, std::uint64_t length) override {
    ::sync_file_range(fd.get(), static_cast<off64_t>(offset), static_cast<off64_t>(length),
                      SYNC_FILE_RANGE_WRITE);
  }

  Result<void> sync_data(const Fd& fd) override {
    const DiskWait waiting;
    if (::fdatasync(fd.get()) != 0) return os_error(errno, "syncing");
    return {};
  }

  Result<void> sync_directory(const std::string& path) override {
    const Fd fd = TRY(open(path, O_RDONLY | O_DIRECTORY, 0));
    const DiskWait waiting;
    if (::fsync(fd.get()) != 0) return os_error(errno, "syncing " + path);
    return {};
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) {
      return os_error(errno, "renaming " + from + " to " + to);
    }
    return {};
  }

  Result<void> remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return os_error(errno, "removing " + path);
    return {};
  }

  Result<void> make_directory(const std::string& path) override {
    if (::mkdir(path.c_str(), 0700) != 0) return os_error(errno, "creating folder " + path);
    return {};
  }

  Result<std::vector<std::string>> list(const std::string& path) override {
    DIR* dir = ::opendir(path.c_str());
    if (dir == nullptr) return os_error(errno, "listing " + path);
    std::vector<std::string> names;
    int failed = 0;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir);
      if (entry == nullptr) {
        failed = errno;
        break;
      }
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    ::closedir(dir);
    if (failed != 0) return os_error(failed, "listing " + path);
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<FileInfo> info(const std::string& path) override {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) return os_error(errno, "looking at " + path);
    return info_of(st);
  }

  Result<FileInfo> info(const Fd& fd) override {
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) return os_error(errno, "looking at an open file");
    return info_of(st);
  }

  Result<void> allocate(const Fd& fd, std::uint64_t size) override {
    const int failed = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(size));
    if (failed != 0) return os_error(failed, "reserving space");
    return {};
  }

  Result<bool> try_lock(const Fd& fd, Lock lock) override {
    const int operation = (lock == Lock::shared ? LOCK_SH : LOCK_EX) | LOCK_NB;
    while (::flock(fd.get(), operation) != 0) {
      if (errno == EINTR) continue;
      if (errno == EWOULDBLOCK) return false;
      return os_error(errno, "locking");
    }
    return true;
  }
};

}  // namespace

Files& system_files() {
  static SystemFiles files;
  return files;
}

Result<Fd> open_plain(Files& files, const std::string& path, int flags, unsigned mode) {
  const Error foreign{Code::invalid, 0, "opening " + path + ": it is a link, or no plain file"};
  // Without waiting: a pipe would have it wait for its other end.
  auto fd = files.open(path, flags | O_NOFOLLOW | O_NONBLOCK, mode);
  if (!fd) {
    const int errnum = fd.error().errnum;
    const bool is_foreign = errnum == ELOOP || errnum == EISDIR || errnum == ENXIO;
    return is_foreign ? foreign : std::move(fd).error();
  }
  if (!TRY(files.info(*fd)).is_regular) return foreign;
  return fd;
}

Result<void> expect_folder(Files& files, const std::string& path) {
  if (TRY(files.info(path)).is_directory) return {};
  return Error{Code::invalid, 0, "looking at " + path + ": it is a link, or no folder"};
}

Result<Bytes> read_file(Files& files, const std::string& path, std::uint64_t limit) {
  const Fd fd = TRY(files.open(path, O_RDONLY, 0));
  const FileInfo info = TRY(files.info(fd));
  if (info.size > limit) {
    return Error{Code::corrupt, 0, path + " is larger than it can be"};
  }
  Bytes data(info.size);
  auto got = files.read_at(fd, data, 0);
  if (!got) return std::move(got).error().with(path);
  data.resize(*got);
  return data;
}

std::string parent_folder(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace bygone
