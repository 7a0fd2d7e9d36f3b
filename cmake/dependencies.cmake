# Libraries, all from Debian 12 packages (scripts/setup.sh installs them).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)

# Where libxxhash has XXH3 for several CPU levels and picks one at run time, base/hash.c uses that.
include(CheckSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES PkgConfig::XXHASH)
check_source_compiles(C "
  #include <xxhash.h>
  #include <xxh_x86dispatch.h>
  int main(void) { return XXH3_128bits_update(0, 0, 0) != XXH_OK; }" TAMIS_HAS_XXH3_DISPATCH)
unset(CMAKE_REQUIRED_LIBRARIES)

add_library(tamis_options INTERFACE)
target_include_directories(tamis_options INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>)
target_compile_definitions(tamis_options INTERFACE
  _GNU_SOURCE TAMIS_VERSION="${PROJECT_VERSION}"
  $<$<BOOL:${TAMIS_HAS_XXH3_DISPATCH}>:TAMIS_XXH3_DISPATCH>)
target_compile_options(tamis_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes
  # The same bits from every compiler: no fused multiply-add, no relaxed arithmetic.
  -ffp-contract=off -fno-math-errno
  $<$<BOOL:${TAMIS_WERROR}>:-Werror>)
target_link_libraries(tamis_options INTERFACE
  PkgConfig::OPENBLAS PkgConfig::ZSTD PkgConfig::XXHASH PkgConfig::CJSON PkgConfig::PCRE2
  PkgConfig::CRYPTO Threads::Threads m)
