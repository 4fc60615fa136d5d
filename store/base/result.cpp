// SPDX-License-Identifier: Apache-2.0
#include "store/base/result.h"

#include <cerrno>
#include <cstring>

namespace bygone {
namespace {

Code code_of(int errnum) {
  switch (errnum) {
    case ENOENT:
    case ESTALE:
      return Code::not_found;
    case EEXIST:
    case ENOTEMPTY:
      return Code::exists;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::denied;
    case ENOSPC:
    case EDQUOT:
      return Code::no_space;
    case EBUSY:
    case EWOULDBLOCK:
    case ETXTBSY:
      return Code::busy;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
      return Code::invalid;
    case EOPNOTSUPP:
    case ENOSYS:
      return Code::unsupported;
    case ECANCELED:
      return Code::cancelled;
    case ECONNREFUSED:
    case ETIMEDOUT:
    case ENOTCONN:
      return Code::unavailable;
    default:
      return Code::io;
  }
}

}  // namespace

Error os_error(int errnum, const std::string& what) {
  char buffer[128];
  return Error{code_of(errnum), errnum, what + ": " + strerror_r(errnum, buffer, sizeof buffer)};
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "bygone: internal error: %s does not hold at %s:%d\n", condition, file,
               line);
  std::abort();
}

}  // namespace bygone
