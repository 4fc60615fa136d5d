# Included by ctest, not by CMake: adds the suites of a test program as it is built, each as one test
# that runs all of the suite in one process. For the sanitizer builds, in which the start of a process
# takes longer than most tests. 77 says that nothing failed, but something was skipped.
function(bygone_add_suites program prefix filter)
  if(NOT EXISTS ${program})
    add_test(${program}_NOT_BUILT ${program}_NOT_BUILT)
    return()
  endif()
  execute_process(COMMAND ${program} --gtest_list_tests --gtest_filter=${filter}
    OUTPUT_VARIABLE output RESULT_VARIABLE result)
  # A line that begins with a name and ends with its dot; those of its tests begin with spaces.
  string(REGEX MATCHALL "(^|\n)[A-Za-z0-9_/]+\\.\n" suites "${output}")
  if(NOT result STREQUAL "0" OR NOT suites)
    message(FATAL_ERROR "${program} does not list its tests (${result}): ${output}")
  endif()
  foreach(suite IN LISTS suites)
    string(STRIP "${suite}" suite) # with its dot
    string(REGEX REPLACE "\\.$" "" name "${prefix}${suite}")
    add_test(${name} ${program} --gtest_filter=${suite}*)
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 ${ARGN})
  endforeach()
endfunction()
