/* version.h - which version of Tamis this is. */
#ifndef TAMIS_BASE_VERSION_H
#define TAMIS_BASE_VERSION_H

/* "0.1.0" */
const char *tamis_version(void);

#endif
