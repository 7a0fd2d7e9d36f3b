/* version.c - the version of this build, as the build system says it. */
#include "base/version.h"

const char *tamis_version(void) {
    return TAMIS_VERSION;
}
