/* store.h - one large array of a run: in memory while the budget lasts, else in a scratch file. */
#ifndef TAMIS_MODEL_STORE_H
#define TAMIS_MODEL_STORE_H

#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

typedef struct tamis_store {
    void *data; /* zeroed at first; NULL when released */
    uint64_t n_bytes;
    tamis_scratch scratch;
    tamis_budget *budget;
    uint64_t taken_bytes; /* of the budget; 0 when on disk */
} tamis_store;

/* n_rows rows of row_bytes. `what` names it in messages. TAMIS_NO_RESOURCE when neither memory nor
 * disk holds it. Release with tamis_store_release(). */
tamis_status tamis_store_init(tamis_store *store, uint64_t n_rows, uint64_t row_bytes,
                              const char *what, tamis_budget *budget,
                              tamis_error *err) TAMIS_MUST_USE;
void tamis_store_release(tamis_store *store);

#endif
