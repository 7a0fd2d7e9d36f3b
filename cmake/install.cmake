# install: the tools, the library with its headers, man pages made by the tools themselves, and a
# pkg-config file.
get_property(tools GLOBAL PROPERTY TAMIS_TOOLS)
if(tools)
  install(TARGETS ${tools} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(TARGETS tamis ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(room base formats gguf model imatrix quantize kld)
  install(DIRECTORY ${room}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tamis/${room}
    FILES_MATCHING PATTERN "*.h" PATTERN "*_internal.h" EXCLUDE PATTERN "x86" EXCLUDE)
endforeach()
configure_file(cmake/tamis.pc.in tamis.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/tamis.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
