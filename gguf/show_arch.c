/* show_arch.c - `gguf show --arch`: the layers of a model as a table, and as JSON.
 * What a layer is made of comes from layers.h; here it only finds its columns. */
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf_internal.h"
#include "gguf/layers.h"
#include "gguf/show_internal.h"

typedef long long ll;

enum { CELL_BYTES = 96, N_COLUMNS = 6 };

typedef struct table_row {
    char cells[N_COLUMNS][CELL_BYTES];
} table_row;

/* "0-2", "MTP 4", "outside" */
static void name_layers(const tamis_layer_view *first, int64_t last, char out[CELL_BYTES]) {
    const char *mtp = first->is_mtp ? "MTP " : "";
    if (first->number < 0)
        snprintf(out, CELL_BYTES, "outside");
    else if (last > first->number)
        snprintf(out, CELL_BYTES, "%s%lld-%lld", mtp, (ll)first->number, (ll)last);
    else
        snprintf(out, CELL_BYTES, "%s%lld", mtp, (ll)first->number);
}

/* "attention", "sliding 512", "latent 512" */
static void name_mixer(const tamis_layer_view *v, char out[CELL_BYTES]) {
    const int64_t n = v->window ? v->window : v->latent_size;
    if (n)
        snprintf(out, CELL_BYTES, "%s %lld", v->mixer, (ll)n);
    else
        snprintf(out, CELL_BYTES, "%s", v->mixer ? v->mixer : "");
}

/* "16/4 x 128", "16 x 192/128" (values of another size), "8/= x 256" (keys of an earlier layer) */
static void name_heads(const tamis_layer_view *v, char out[CELL_BYTES]) {
    char kv[24] = "", value[24] = "";
    if (!v->n_heads || !v->head_size) {
        snprintf(out, CELL_BYTES, "%s", v->mixer ? "-" : "");
        return;
    }
    if (v->shares_kv)
        snprintf(kv, sizeof kv, "/=");
    else if (v->n_heads_kv != v->n_heads)
        snprintf(kv, sizeof kv, "/%lld", (ll)v->n_heads_kv);
    if (v->value_size != v->head_size) snprintf(value, sizeof value, "/%lld", (ll)v->value_size);
    snprintf(out, CELL_BYTES, "%lld%s x %lld%s", (ll)v->n_heads, kv, (ll)v->head_size, value);
}

/* "9728", "2/8 x 256 + 256" (2 of 8 experts, and a shared one), "2048, 2/8 x 256" (both) */
static void name_ffn(const tamis_layer_view *v, char out[CELL_BYTES]) {
    char dense[24] = "", experts[56] = "", shared[24] = "";
    if (v->n_ff) snprintf(dense, sizeof dense, "%lld", (ll)v->n_ff);
    if (v->n_experts)
        snprintf(experts, sizeof experts, "%s%lld/%lld x %lld", v->n_ff ? ", " : "",
                 (ll)v->n_experts_used, (ll)v->n_experts, (ll)v->n_expert_ff);
    if (v->n_shared) snprintf(shared, sizeof shared, " + %lld", (ll)v->n_shared_ff);
    snprintf(out, CELL_BYTES, "%s%s%s%s", dense, experts, shared,
             v->mixer && !v->n_ff && !v->n_experts ? "-" : "");
}

static double bits_of(const tamis_type *type) {
    return type->block_elems ? 8.0 * type->block_bytes / type->block_elems : 0;
}

/* "q4_K q6_K f32": the fewest bits first */
static void name_types(uint64_t types, char out[CELL_BYTES]) {
    int n_types;
    const tamis_type *table = tamis_type_table(&n_types);
    size_t n = 0;
    out[0] = 0;
    while (types && n < CELL_BYTES) {
        int least = -1;
        for (int i = 0; i < n_types && i < 64; i++)
            if ((types >> i & 1) && (least < 0 || bits_of(&table[i]) < bits_of(&table[least])))
                least = i;
        types &= ~(UINT64_C(1) << least);
        n += (size_t)snprintf(out + n, CELL_BYTES - n, "%s%s", n ? " " : "", table[least].name);
    }
}

/* The layers from *i on that share a row. */
static void make_row(const tamis_layer_view *views, int64_t n, bool every, int64_t *i,
                     table_row *row) {
    const tamis_layer_view *v = &views[*i];
    int64_t last = v->number;
    uint64_t n_elems = v->n_elems;
    for (++*i; !every && v->number >= 0 && *i < n; ++*i) {
        if (views[*i].number != last + 1 || !tamis_layer_view_is_alike(v, &views[*i])) break;
        last = views[*i].number;
        n_elems += views[*i].n_elems;
    }
    name_layers(v, last, row->cells[0]);
    name_mixer(v, row->cells[1]);
    name_heads(v, row->cells[2]);
    name_ffn(v, row->cells[3]);
    gguf_count_text(n_elems, row->cells[4], CELL_BYTES);
    name_types(v->types, row->cells[5]);
}

static void print_table(const tamis_layer_view *views, int64_t n, bool every, FILE *stream) {
    static const table_row heading = {
        {"layers", "mixer", "heads", "feed-forward", "weights", "types"}};
    int width[N_COLUMNS];
    table_row row;
    for (int c = 0; c < N_COLUMNS; c++)
        width[c] = (int)strlen(heading.cells[c]);
    for (int64_t i = 0; i < n;) {
        make_row(views, n, every, &i, &row);
        for (int c = 0; c < N_COLUMNS; c++)
            if ((int)strlen(row.cells[c]) > width[c]) width[c] = (int)strlen(row.cells[c]);
    }
    for (int64_t i = -1; i < n;) {
        if (i < 0) {
            row = heading;
            i++;
        } else {
            make_row(views, n, every, &i, &row);
        }
        fprintf(stream, "%-*s  %-*s  %-*s  %-*s  %*s  %s\n", width[0], row.cells[0], width[1],
                row.cells[1], width[2], row.cells[2], width[3], row.cells[3], width[4],
                row.cells[4], row.cells[5]);
    }
}

static int64_t arch_int(const tamis_gguf *g, const char *suffix) {
    int64_t value;
    return gguf_arch_int(&g->files[0], suffix, &value) ? value : 0;
}

static int64_t n_tokens(const tamis_gguf *g) {
    tamis_gguf_kv kv;
    if (tamis_gguf_find(g, "tokenizer.ggml.tokens", &kv)) return (int64_t)kv.n_elems;
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, "token_embd.weight");
    return t ? (int64_t)t->ne[1] : 0;
}

static bool is_tied(const tamis_gguf *g) {
    return !tamis_gguf_find_tensor(g, "output.weight");
}

static bool shares_any(const tamis_layer_view *views, int64_t n) {
    bool found = false;
    for (int64_t i = 0; i < n; i++)
        found |= views[i].shares_kv;
    return found;
}

tamis_status tamis_gguf_show_arch(const tamis_gguf *g, const tamis_gguf_show_options *options,
                                  FILE *stream, tamis_error *err) {
    tamis_layer_view *views = NULL;
    int64_t n = 0;
    tamis_status st = tamis_gguf_layers(g, &views, &n, err);
    if (st) return st;
    gguf_show_header(g, stream);
    fprintf(stream, "%-14s %lld, context %lld, vocabulary %lld, %s\n\n", "width",
            (ll)arch_int(g, "embedding_length"), (ll)arch_int(g, "context_length"), (ll)n_tokens(g),
            is_tied(g) ? "embeddings are the output" : "output of its own");
    print_table(views, n, options->every_layer, stream);
    if (shares_any(views, n))
        fprintf(stream, "\n=: the keys and values of an earlier layer are used\n");
    free(views);
    return TAMIS_OK;
}

/* --- JSON --- */

static void add_layer(cJSON *array, const tamis_layer_view *v) {
    int n_types;
    const tamis_type *table = tamis_type_table(&n_types);
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"heads", v->n_heads},
        {"kv_heads", v->n_heads_kv},
        {"head_size", v->head_size},
        {"value_size", v->value_size},
        {"window", v->window},
        {"latent", v->latent_size},
        {"feed_forward", v->n_ff},
        {"experts", v->n_experts},
        {"experts_used", v->n_experts_used},
        {"expert_feed_forward", v->n_expert_ff},
        {"shared_experts", v->n_shared},
        {"shared_feed_forward", v->n_shared_ff},
    };
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToArray(array, o);
    tamis_json_add_int(o, "layer", v->number);
    cJSON_AddBoolToObject(o, "mtp", v->is_mtp);
    cJSON_AddStringToObject(o, "mixer", v->mixer);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].value) tamis_json_add_int(o, numbers[i].name, numbers[i].value);
    if (v->shares_kv) cJSON_AddBoolToObject(o, "shares_kv", true);
    tamis_json_add_int(o, "tensors", v->n_tensors);
    tamis_json_add_uint(o, "weights", v->n_elems);
    tamis_json_add_uint(o, "size", v->n_bytes);
    cJSON *types = cJSON_AddArrayToObject(o, "types");
    for (int i = 0; i < n_types && i < 64; i++)
        if (v->types >> i & 1) cJSON_AddItemToArray(types, cJSON_CreateString(table[i].name));
}

tamis_status tamis_gguf_show_arch_json(const tamis_gguf *g, cJSON **out, tamis_error *err) {
    tamis_layer_view *views = NULL;
    tamis_bytes arch;
    int64_t n = 0;
    *out = NULL;
    tamis_status st = tamis_gguf_layers(g, &views, &n, err);
    if (st) return st;
    cJSON *root = cJSON_CreateObject();
    if (!tamis_gguf_get_string(g, "general.architecture", &arch, NULL) && arch.data)
        tamis_json_add_bytes(root, "architecture", arch.data, arch.n_bytes);
    tamis_json_add_int(root, "width", arch_int(g, "embedding_length"));
    tamis_json_add_int(root, "context", arch_int(g, "context_length"));
    tamis_json_add_int(root, "vocabulary", n_tokens(g));
    cJSON_AddBoolToObject(root, "tied", is_tied(g));
    cJSON *layers = cJSON_AddArrayToObject(root, "layers");
    for (int64_t i = 0; i < n; i++)
        if (views[i].number >= 0) add_layer(layers, &views[i]);
    free(views);
    *out = root;
    return TAMIS_OK;
}
