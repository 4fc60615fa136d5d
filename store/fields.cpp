// SPDX-License-Identifier: Apache-2.0
#include "store/fields.h"

#include <algorithm>
#include <string>

#include "store/base/codec.h"
#include "store/format.h"

namespace bygone::store {

void FieldWriter::text(std::uint16_t tag, std::string_view value) {
  if (!value.empty()) put(tag, Bytes(value.begin(), value.end()));
}

void FieldWriter::number(std::uint16_t tag, std::int64_t value) {
  if (value == 0) return;
  Writer w;
  w.svarint(value);
  put(tag, w.take());
}

Bytes FieldWriter::finish() {
  std::stable_sort(fields_.begin(), fields_.end(), [](const auto& a, const auto& b) {
    return (a.first & ~kCriticalField) < (b.first & ~kCriticalField);
  });
  Writer w;
  for (const auto& [tag, value] : fields_) {
    w.u16(tag);
    w.string(value);
  }
  fields_.clear();
  return w.take();
}

Result<void> read_fields(
    ByteView data, const char* what,
    const std::function<Result<void>(std::uint16_t tag, ByteView value)>& take) {
  Reader r(data);
  std::uint16_t last = 0;
  while (r.remaining() > 0) {
    const std::uint16_t tag = TRY(r.u16());
    const ByteView value = TRY(r.string(kMaxObjectBytes));
    const std::uint16_t order = tag & static_cast<std::uint16_t>(~kCriticalField);
    if (order <= last) {
      return Error{Code::corrupt, 0, std::string(what) + "'s fields are out of order"};
    }
    last = order;
    TRY(take(tag, value));
  }
  return {};
}

Result<void> keep_unknown(UnknownFields& unknown, std::uint16_t tag, ByteView value,
                          std::uint16_t last_known, const char* what) {
  if ((tag & ~kCriticalField) <= last_known) {
    return Error{Code::corrupt, 0, std::string(what) + " has a field of another kind"};
  }
  if ((tag & kCriticalField) != 0) {
    return Error{Code::unsupported, 0,
                 std::string(what) +
                     " has a field that this version must know and does not; "
                     "hint: a newer bygone wrote it"};
  }
  unknown.emplace_back(tag, Bytes(value.begin(), value.end()));
  return {};
}

}  // namespace bygone::store
