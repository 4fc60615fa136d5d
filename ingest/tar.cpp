// SPDX-License-Identifier: Apache-2.0
#include "ingest/tar.h"

#include <algorithm>
#include <clocale>
#include <cstring>
#include <string_view>
#include <utility>

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "store/format.h"
#include "store/stat_types.h"

namespace bygone::ingest {
namespace {

using store::FileType;

constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kEndMark = 2 * kBlock;
constexpr std::uint64_t kMostPadding = 64u << 10;  // tar(1) fills up to 10 KiB

// libarchive turns names from UTF-8 to the charset of the locale, and into another normal form
// where that is UTF-8, too. In the C locale that fails for all but ASCII, and the bytes are left
// as they are.
class CLocale {
 public:
  CLocale() : c_(::newlocale(LC_ALL_MASK, "C", nullptr)), before_(::uselocale(c_)) {}
  ~CLocale() {
    ::uselocale(before_);
    ::freelocale(c_);
  }
  CLocale(const CLocale&) = delete;
  CLocale& operator=(const CLocale&) = delete;

 private:
  locale_t c_;
  locale_t before_;
};

Error lie(const std::string& what) {
  return {Code::invalid, 0, "the archive cannot be believed: " + what};
}

Result<std::uint32_t> owner(std::int64_t id, const std::string& path) {
  if (id < 0 || id > 0xffff'ffff) return lie(printable(path) + " has no possible owner");
  return static_cast<std::uint32_t>(id);
}

// A name as an archive spells it, without what means nothing: "./", a slash at the end.
Result<std::string> clean(const char* text) {
  if (text == nullptr || *text == '\0') return lie("an entry without a name");
  std::string_view name = text;
  if (name.front() == '/') return lie("the absolute name " + printable(name));
  while (name.size() > 1 && name.back() == '/') name.remove_suffix(1);
  std::string_view rest = name;
  while (!rest.empty()) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, slash);
    const bool leading_dot = part == "." && part.data() == name.data();
    if (part.empty() || part == ".." || (part == "." && !leading_dot) ||
        part.size() > store::kMaxNameBytes) {
      return lie("the name " + printable(name.substr(0, store::kMaxNameBytes)));
    }
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  return std::string(name);
}

}  // namespace

class TarReader::Impl {
 public:
  explicit Impl(Source source)
      : source_(std::move(source)), archive_(::archive_read_new(), ::archive_read_free) {}

  Result<std::optional<TarEntry>> next() {
    if (failure_) return *failure_;
    const CLocale locale;
    auto entry = opened_ ? step() : open();
    if (!entry) failure_ = entry.error();
    return entry;
  }

  Result<std::optional<Block>> read() {
    if (failure_) return *failure_;
    const CLocale locale;
    auto block = read_block();
    if (!block) failure_ = block.error();
    return block;
  }

  [[nodiscard]] bool ended_early() const { return ended_early_; }

 private:
  static la_ssize_t take(archive* reader, void* self, const void** buffer) {
    Impl& impl = *static_cast<Impl*>(self);
    const auto bytes = impl.source_();
    if (!bytes) {
      impl.source_failure_ = bytes.error();
      ::archive_set_error(reader, EIO, "%s", "the stream failed");
      return -1;
    }
    impl.stream_ended_ = bytes->empty();
    *buffer = bytes->data();
    return static_cast<la_ssize_t>(bytes->size());
  }

  [[nodiscard]] std::uint64_t position() const {
    return static_cast<std::uint64_t>(
        std::max<la_int64_t>(0, ::archive_filter_bytes(archive_.get(), 0)));
  }

  // Why libarchive gave up. It cannot tell a lie from an end that came too early, we can.
  Error broken() {
    if (source_failure_) return *source_failure_;
    if (stream_ended_) return early();
    const char* text = ::archive_error_string(archive_.get());
    return lie(text == nullptr ? "its form is unknown" : printable(std::string_view(text)));
  }

  Error early() {
    ended_early_ = true;
    return {Code::io, 0, "the engine's archive ended too early: it is not whole"};
  }

  Result<std::optional<TarEntry>> open() {
    opened_ = true;
    ::archive_read_support_format_tar(archive_.get());
    if (::archive_read_open(archive_.get(), this, nullptr, take, nullptr) < ARCHIVE_OK) {
      return broken();
    }
    return step();
  }

  Result<std::optional<TarEntry>> step() {
    if (ended_) return std::optional<TarEntry>();
    if (any_ && ::archive_read_data_skip(archive_.get()) < ARCHIVE_WARN) return broken();
    const std::uint64_t end = (position() + kBlock - 1) / kBlock * kBlock;
    archive_entry* entry = nullptr;
    const int got = ::archive_read_next_header(archive_.get(), &entry);
    if (got == ARCHIVE_EOF) {
      TRY(prove_end(end));
      return std::optional<TarEntry>();
    }
    if (got < ARCHIVE_WARN || source_failure_) return broken();
    if (got == ARCHIVE_WARN) TRY(judge_warning());
    any_ = true;
    return std::optional<TarEntry>(TRY(convert(entry)));
  }

  // libarchive takes the end of the stream for the end of the archive.
  Result<void> prove_end(std::uint64_t end) {
    if (source_failure_) return *source_failure_;
    if (position() < end + kEndMark) return early();
    const void* rest = nullptr;
    std::uint64_t padding = 0;
    while (!stream_ended_) {
      const la_ssize_t n = take(archive_.get(), this, &rest);
      if (n < 0) return *source_failure_;
      padding += static_cast<std::uint64_t>(n);
      if (padding > kMostPadding) return lie("it goes on after its end");
    }
    ended_ = true;
    return {};
  }

  // In the C locale every name that is not ASCII is warned of; anything else is damage.
  Result<void> judge_warning() {
    const char* text = ::archive_error_string(archive_.get());
    if (text != nullptr && std::strstr(text, "can't be converted") != nullptr) return {};
    return broken();
  }

  // The part of a name that is below the root, which is the name of the first entry.
  Result<std::string> below_root(const std::string& name) const {
    if (name == *root_) return std::string();
    if (name.size() <= root_->size() + 1 || !name.starts_with(*root_) ||
        name[root_->size()] != '/') {
      return lie(printable(name) + " is not below " + printable(*root_));
    }
    return name.substr(root_->size() + 1);
  }

  Result<TarEntry> convert(archive_entry* from) {
    TarEntry out;
    const std::string name = TRY(clean(::archive_entry_pathname(from)));
    if (!root_) {
      if (name.find('/') != std::string::npos) return lie("it begins at " + printable(name));
      root_ = name;
    }
    out.path = TRY(below_root(name));
    store::Entry& entry = out.entry;
    entry.name = out.path.substr(out.path.rfind('/') + 1);
    if (const char* link = ::archive_entry_hardlink(from)) {
      out.same_as = TRY(below_root(TRY(clean(link))));
      if (::archive_entry_size(from) > 0) return lie(printable(name) + ", a link, has content");
      return out;
    }
    const auto type = store::file_type(::archive_entry_filetype(from));
    if (!type) return lie(printable(name) + " is of an unknown type");
    entry.type = *type;
    entry.mode = ::archive_entry_perm(from) & 07777;
    entry.uid = TRY(owner(::archive_entry_uid(from), name));
    entry.gid = TRY(owner(::archive_entry_gid(from), name));
    entry.mtime.seconds = ::archive_entry_mtime(from);
    entry.mtime.nanoseconds =
        static_cast<std::uint32_t>(std::clamp(::archive_entry_mtime_nsec(from), 0L, 999'999'999L));
    entry.ctime = entry.mtime;
    if (entry.type == FileType::regular) TRY(take_size(entry, from));
    if (entry.type == FileType::symlink) TRY(take_target(entry, from));
    if (entry.type == FileType::char_device || entry.type == FileType::block_device) {
      entry.device = ::archive_entry_rdev(from);
    }
    take_xattrs(entry, from);
    size_ = entry.size;
    done_ = 0;
    return out;
  }

  static Result<void> take_size(store::Entry& entry, archive_entry* from) {
    const la_int64_t size = ::archive_entry_size(from);
    if (size < 0) return lie(printable(entry.name) + " has a negative size");
    entry.size = static_cast<std::uint64_t>(size);
    return {};
  }

  static Result<void> take_target(store::Entry& entry, archive_entry* from) {
    const char* target = ::archive_entry_symlink(from);
    if (target == nullptr || *target == '\0') return lie(printable(entry.name) + " leads nowhere");
    entry.target = target;
    entry.size = entry.target.size();
    return {};
  }

  static void take_xattrs(store::Entry& entry, archive_entry* from) {
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    ::archive_entry_xattr_reset(from);
    while (::archive_entry_xattr_next(from, &name, &value, &size) == ARCHIVE_OK) {
      const auto* bytes = static_cast<const std::uint8_t*>(value);
      entry.xattrs.push_back({name, Bytes(bytes, bytes + size)});
    }
    std::sort(entry.xattrs.begin(), entry.xattrs.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    const auto same = [](const auto& a, const auto& b) { return a.name == b.name; };
    entry.xattrs.erase(std::unique(entry.xattrs.begin(), entry.xattrs.end(), same),
                       entry.xattrs.end());
  }

  Result<std::optional<Block>> read_block() {
    const void* data = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    const int got = ::archive_read_data_block(archive_.get(), &data, &size, &offset);
    if (got == ARCHIVE_EOF) return std::optional<Block>();
    if (got < ARCHIVE_OK || source_failure_) return broken();
    const auto at = static_cast<std::uint64_t>(offset);
    if (offset < 0 || at < done_ || at > size_ || size > size_ - at) {
      return lie("a file has content outside of its size");
    }
    done_ = at + size;
    return std::optional<Block>({at, {static_cast<const std::uint8_t*>(data), size}});
  }

  Source source_;
  std::unique_ptr<archive, decltype(&::archive_read_free)> archive_;
  bool opened_ = false;
  bool any_ = false;
  bool ended_ = false;
  bool stream_ended_ = false;
  bool ended_early_ = false;
  std::optional<Error> source_failure_;
  std::optional<Error> failure_;
  std::optional<std::string> root_;
  std::uint64_t size_ = 0;  // of the last entry
  std::uint64_t done_ = 0;  // of its content
};

TarReader::TarReader(Source source) : impl_(std::make_unique<Impl>(std::move(source))) {}
TarReader::~TarReader() = default;
Result<std::optional<TarEntry>> TarReader::next() { return impl_->next(); }
Result<std::optional<TarReader::Block>> TarReader::read() { return impl_->read(); }
bool TarReader::ended_early() const { return impl_->ended_early(); }

}  // namespace bygone::ingest
