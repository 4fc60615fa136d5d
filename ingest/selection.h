// SPDX-License-Identifier: Apache-2.0
//
// Which containers and volumes of a survey a person means, and what each is called. Pure: asks
// nobody. Callable from any thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ingest/discover.h"
#include "ingest/survey.h"

namespace bygone::ingest {

// What a container is called as a source.
struct Called {
  std::string name;
  std::optional<Error> error;  // the name belongs to another container, or is no name
};

// The names of all containers, in the survey's order. The label bygone.name wins over Docker's
// name, where it can be a name. Of several that want one name it goes to an enabled container
// before a disabled one, then to the one that Docker calls so, then to the first by Docker's name;
// the others get an error, and are called as Docker calls them, or by their id where that is taken,
// too.
[[nodiscard]] std::vector<Called> call_containers(const Survey& survey);

struct Selected {
  std::map<std::size_t, bool> containers;  // place in survey.containers; true when named itself
  std::map<std::string, bool> volumes;     // bare volumes by name; true when named itself
};

// Errors: not_found for names that select nothing, listing what exists.
[[nodiscard]] Result<Selected> select(const Survey& survey, const std::vector<Called>& called,
                                      const Selection& selection);

}  // namespace bygone::ingest
