# install: the tools with the man pages and shell completions that they print themselves, the
# library, the headers that its users need, and a pkg-config file that works wherever the tree is
# moved.
get_property(tools GLOBAL PROPERTY TAMIS_TOOLS)
get_property(man_pages GLOBAL PROPERTY TAMIS_MAN_PAGES)
install(TARGETS ${tools} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
get_property(names GLOBAL PROPERTY TAMIS_TOOL_NAMES)
foreach(name IN LISTS names)
  install(FILES "${CMAKE_BINARY_DIR}/completions/bash/${name}"
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES "${CMAKE_BINARY_DIR}/completions/zsh/${name}"
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _${name})
  install(FILES "${CMAKE_BINARY_DIR}/completions/fish/${name}"
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d RENAME ${name}.fish)
endforeach()
install(TARGETS tamis ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})

# What a program is meant to include, and what these include themselves; tests/e2e/install.sh
# compiles each of them alone. All other headers are the library's own.
set(public_headers
  base/error.h base/json.h base/log.h base/memory.h base/progress.h base/threads.h
  formats/formats.h
  gguf/gguf.h gguf/show.h
  model/checkpoint.h model/chunks.h model/gemm.h model/head.h model/model.h model/pass.h
  model/perplexity.h model/store.h model/tokenizer.h
  imatrix/imatrix.h imatrix/imatrix_file.h imatrix/matrix.h imatrix/texts.h
  quantize/quantize.h
  kld/base_file.h kld/evaluate.h kld/identity.h kld/job.h kld/mtp.h kld/ppl.h kld/report.h
  kld/stats.h kld/worst.h)
foreach(header IN LISTS public_headers)
  get_filename_component(room "${header}" DIRECTORY)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tamis/${room})
endforeach()

file(RELATIVE_PATH TAMIS_PC_TO_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
# The library is static, so its users link what it needs, with or without --static. OpenBLAS by its
# flags: its own file asks for a Fortran library that a shared OpenBLAS brings along by itself.
list(JOIN OPENBLAS_LDFLAGS " " TAMIS_PC_OPENBLAS)
configure_file(cmake/tamis.pc.in tamis.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/tamis.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
