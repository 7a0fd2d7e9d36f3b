/* store.c - see store.h. */
#include "model/store.h"

#include "base/checked.h"

tamis_status tamis_store_init(tamis_store *store, uint64_t n_rows, uint64_t row_bytes,
                              const char *what, tamis_budget *budget, tamis_error *err) {
    *store = (tamis_store){.budget = budget};
    if (!tamis_mul_u64(n_rows, row_bytes, &store->n_bytes))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "%s: %llu rows of %llu bytes are too large", what,
                          (unsigned long long)n_rows, (unsigned long long)row_bytes);
    if (tamis_budget_take(budget, store->n_bytes)) store->taken_bytes = store->n_bytes;
    const bool on_disk = store->taken_bytes < store->n_bytes;
    tamis_status st = tamis_scratch_init(&store->scratch, store->n_bytes, on_disk, NULL, err);
    if (st) {
        tamis_budget_give(budget, store->taken_bytes);
        *store = (tamis_store){0};
        return tamis_fail_prefix(err, "%s", what);
    }
    store->data = store->scratch.data;
    return TAMIS_OK;
}

void tamis_store_release(tamis_store *store) {
    if (!store || !store->data) return;
    tamis_scratch_release(&store->scratch);
    tamis_budget_give(store->budget, store->taken_bytes);
    *store = (tamis_store){0};
}
