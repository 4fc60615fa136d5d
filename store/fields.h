// SPDX-License-Identifier: Apache-2.0
//
// Lists of tagged fields: the encoding of snapshot records and notes (FORMAT.md section 8). A tag
// with the critical bit must be known to whoever reads; others may be kept unread. Knows no field
// itself. Not for concurrent use.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone::store {

inline constexpr std::uint16_t kCriticalField = 0x8000;

// Fields of later versions that are not critical, kept so that copies lose nothing.
using UnknownFields = std::vector<std::pair<std::uint16_t, Bytes>>;

class FieldWriter {
 public:
  void put(std::uint16_t tag, Bytes value) { fields_.emplace_back(tag, std::move(value)); }
  // An empty text and a zero are left out: absent means the same.
  void text(std::uint16_t tag, std::string_view value);
  void number(std::uint16_t tag, std::int64_t value);
  // The canonical encoding: by tag without the critical bit. The writer is empty afterwards.
  [[nodiscard]] Bytes finish();

 private:
  UnknownFields fields_;
};

// Calls `take` for each field of `data` in order, with a value that is valid only during the call.
// `what` names the object in messages ("a snapshot record"). Errors: corrupt for what is no list
// of fields or is out of order; those of `take`.
[[nodiscard]] Result<void> read_fields(
    ByteView data, const char* what,
    const std::function<Result<void>(std::uint16_t tag, ByteView value)>& take);

// What a reader does with a field that it does not know, when it knows those up to `last_known`:
// keeps it in `unknown`. Errors: unsupported when it is critical; corrupt for a known field whose
// critical bit is not as it must be: kept, it would stand beside the real one when written again.
[[nodiscard]] Result<void> keep_unknown(UnknownFields& unknown, std::uint16_t tag, ByteView value,
                                        std::uint16_t last_known, const char* what);

}  // namespace bygone::store
