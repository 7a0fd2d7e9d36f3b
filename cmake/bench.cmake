# Programs that only the benchmarks in scripts/bench/ use; built with the tools, never installed.
file(GLOB programs CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/scripts/bench/*.c")
foreach(program IN LISTS programs)
  get_filename_component(name "${program}" NAME_WE)
  add_executable(${name} "${program}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
  target_link_libraries(${name} PRIVATE tamis)
endforeach()
