# A room is a folder of the source tree. Every .c in it belongs to the library but main.c and what
# lies in commands/ (the tool's sub-commands), so a new architecture or tensor type needs no change
# here.

# tamis_room(NAME): object library of a room's sources.
function(tamis_room name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${name}/*.c")
  list(FILTER sources EXCLUDE REGEX "/main\\.c$|/${name}/commands/")
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(FILTER sources EXCLUDE REGEX "/x86/")
  endif()
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    list(FILTER sources EXCLUDE REGEX "/arm/")
  endif()
  foreach(source IN LISTS sources)
    # Kernels for one CPU level carry its name at the end of theirs.
    if(source MATCHES "_avx2\\.c$")
      set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS "-mavx2;-mf16c")
    elseif(source MATCHES "_avx512\\.c$")
      set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS
        "-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mf16c;-mbmi2;-mprefer-vector-width=512")
    endif()
  endforeach()
  if(sources)
    add_library(tamis_${name} OBJECT ${sources})
    target_link_libraries(tamis_${name} PUBLIC tamis_options)
    set_property(GLOBAL APPEND PROPERTY TAMIS_ROOMS tamis_${name})
  endif()
endfunction()

# tamis_library(): all rooms as one library, libtamis.
function(tamis_library)
  get_property(rooms GLOBAL PROPERTY TAMIS_ROOMS)
  set(objects)
  foreach(room IN LISTS rooms)
    list(APPEND objects $<TARGET_OBJECTS:${room}>)
  endforeach()
  add_library(tamis STATIC ${objects})
  target_link_libraries(tamis PUBLIC $<BUILD_INTERFACE:tamis_options>)
endfunction()

# tamis_tool(NAME): the tool whose main.c lies in the room of that name, and what it prints about
# itself: its man pages, NAME.1 and, for each file of its commands/ that is not shared by them (it
# has a header then), one NAME-SUB_COMMAND.1; and its completion for three shells.
function(tamis_tool name)
  file(GLOB commands CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${name}/commands/*.c")
  add_executable(tool_${name} "${CMAKE_SOURCE_DIR}/${name}/main.c" ${commands})
  set_target_properties(tool_${name} PROPERTIES
    OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
  target_link_libraries(tool_${name} PRIVATE tamis)
  set_property(GLOBAL APPEND PROPERTY TAMIS_TOOLS tool_${name})

  file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/man")
  set(pages "${CMAKE_BINARY_DIR}/man/${name}.1")
  set(prints COMMAND tool_${name} --man > "${CMAKE_BINARY_DIR}/man/${name}.1")
  foreach(file IN LISTS commands)
    get_filename_component(sub "${file}" NAME_WE)
    if(EXISTS "${CMAKE_SOURCE_DIR}/${name}/commands/${sub}.h")
      continue()
    endif()
    set(page "${CMAKE_BINARY_DIR}/man/${name}-${sub}.1")
    list(APPEND pages "${page}")
    list(APPEND prints COMMAND tool_${name} ${sub} --man > "${page}")
  endforeach()
  add_custom_command(OUTPUT ${pages} ${prints} DEPENDS tool_${name} VERBATIM
    COMMENT "Printing the man pages of ${name}")
  add_custom_target(man_${name} ALL DEPENDS ${pages})
  set_property(GLOBAL APPEND PROPERTY TAMIS_MAN_PAGES ${pages})

  set(scripts)
  set(prints)
  foreach(shell bash zsh fish)
    file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/completions/${shell}")
    list(APPEND scripts "${CMAKE_BINARY_DIR}/completions/${shell}/${name}")
    list(APPEND prints COMMAND tool_${name} --completion ${shell}
      > "${CMAKE_BINARY_DIR}/completions/${shell}/${name}")
  endforeach()
  add_custom_command(OUTPUT ${scripts} ${prints} DEPENDS tool_${name} VERBATIM
    COMMENT "Printing the shell completion of ${name}")
  add_custom_target(completion_${name} ALL DEPENDS ${scripts})
  set_property(GLOBAL APPEND PROPERTY TAMIS_TOOL_NAMES ${name})
endfunction()
