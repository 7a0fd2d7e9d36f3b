/* The type of every tensor, file type by file type, against a recorded table
 * (tests/quantize_mixes.tsv): grouped queries 1 to 8, experts 0 to 16, tied embeddings, 80 layers,
 * fused projections, rows that do not divide; with and without an importance matrix. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/quantize_internal.h"

typedef struct model {
    char name[32], arch[32];
    uint32_t n_layers, n_heads, n_heads_kv, n_experts, is_tied, row;
    int n_parts;
    char parts[12][32];
} model;

static char type_names[128][16]; /* by letter */

static void read_letters(char *line) {
    char *save;
    for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
        if (word[1] == '=') snprintf(type_names[word[0] & 127], 16, "%s", word + 2);
}

static char letter(const tamis_type *type) {
    for (int c = 0; type && c < 128; c++)
        if (!strcmp(type_names[c], type->name)) return (char)c;
    return '?';
}

static void read_model(char *line, model *m) {
    int at;
    memset(m, 0, sizeof *m);
    int n = sscanf(line, "model %31s %31s %u %u %u %u %u %u%n", m->name, m->arch, &m->n_layers,
                   &m->n_heads, &m->n_heads_kv, &m->n_experts, &m->is_tied, &m->row, &at);
    assert_int_equal(n, 8);
    char *save;
    for (char *p = strtok_r(line + at, " \n", &save); p && m->n_parts < 12;
         p = strtok_r(NULL, " \n", &save))
        snprintf(m->parts[m->n_parts++], 32, "%s", p);
}

/* --- the model as a file, and an importance matrix for all of it --- */

static void set_u32(tamis_gguf_writer *w, const char *arch, const char *key, uint32_t value) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s", arch, key);
    assert_int_equal(tamis_gguf_set_uint(w, full, TAMIS_GGUF_U32, value, NULL), TAMIS_OK);
}

static void add(tamis_gguf_writer *w, tamis_imatrix *im, const char *name, uint64_t ne0,
                uint64_t ne1, uint64_t ne2) {
    const uint64_t ne[3] = {ne0, ne1, ne2};
    tamis_imatrix_entry *e;
    assert_int_equal(tamis_gguf_add_tensor(w, name, TAMIS_TYPE_F32, 3, ne, NULL), TAMIS_OK);
    assert_int_equal(tamis_imatrix_add(im, name, ne0 * ne2, ne2, &e, NULL), TAMIS_OK);
    for (uint64_t i = 0; i < e->n_values; i++) e->sums[i] = 1;
    for (uint64_t i = 0; i < e->n_counts; i++) e->counts[i] = 1;
}

static void write_model(const model *m, const char *gguf_path, const char *imatrix_path) {
    tamis_gguf_writer *w;
    tamis_imatrix im;
    static const float zeros[304 * 8 * 16];
    tamis_imatrix_init(&im);
    im.chunk_size = 512;
    assert_int_equal(tamis_gguf_writer_new(&w, NULL), TAMIS_OK);
    assert_int_equal(
        tamis_gguf_set_string(w, "general.architecture", m->arch, strlen(m->arch), NULL), TAMIS_OK);
    set_u32(w, m->arch, "block_count", m->n_layers);
    set_u32(w, m->arch, "attention.head_count", m->n_heads);
    set_u32(w, m->arch, "attention.head_count_kv", m->n_heads_kv);
    if (m->n_experts) set_u32(w, m->arch, "expert_count", m->n_experts);
    add(w, &im, "token_embd.weight", m->row, 8, 1);
    if (!m->is_tied) add(w, &im, "output.weight", m->row, 8, 1);
    for (uint32_t i = m->n_layers; i-- > 0;) /* the order of the source must not matter */
        for (int k = m->n_parts; k-- > 0;) {
            char name[64];
            snprintf(name, sizeof name, "blk.%u.%s.weight", i, m->parts[k]);
            bool is_down_304 = !strcmp(m->name, "rows-304-down") && !strcmp(m->parts[k], "ffn_down");
            add(w, &im, name, is_down_304 ? 304 : m->row, 4,
                strstr(m->parts[k], "_exps") ? m->n_experts : 1);
        }
    assert_int_equal(tamis_gguf_begin(w, gguf_path, NULL), TAMIS_OK);
    for (uint64_t i = 0; i < im.n_entries; i++) {
        bool is_wide = !strncmp(im.entries[i].name, "blk.", 4);
        uint64_t n = im.entries[i].n_values * (is_wide ? 4 : 8);
        assert_int_equal(tamis_gguf_write_data(w, zeros, n * sizeof *zeros, NULL), TAMIS_OK);
    }
    assert_int_equal(tamis_gguf_commit(w, NULL), TAMIS_OK);
    tamis_gguf_writer_free(w);
    assert_int_equal(tamis_imatrix_save(&im, imatrix_path, NULL), TAMIS_OK);
    tamis_imatrix_release(&im);
}

/* --- what we choose, as the table writes it --- */

/* Letters of a list of types, a group a layer, equal neighbours folded to N*group. */
static void fold(const char *chosen, const int64_t *layers, int64_t n, char *out, size_t cap) {
    size_t n_out = 0;
    char group[16] = "", last[16] = "";
    int n_same = 0;
    out[0] = 0;
    for (int64_t i = 0; i <= n; i++) {
        bool starts = i == n || (i > 0 && layers[i] != layers[i - 1]);
        if (starts) {
            if (strcmp(group, last) == 0) {
                n_same++;
            } else {
                if (n_same > 1) n_out += (size_t)snprintf(out + n_out, cap - n_out, "%d*", n_same);
                if (n_same > 0) n_out += (size_t)snprintf(out + n_out, cap - n_out, "%s ", last);
                snprintf(last, sizeof last, "%s", group);
                n_same = 1;
            }
            group[0] = 0;
        }
        if (i == n) break;
        size_t n_group = strlen(group);
        group[n_group] = chosen[i];
        group[n_group + 1] = 0;
    }
    if (n_same > 1) n_out += (size_t)snprintf(out + n_out, cap - n_out, "%d*", n_same);
    snprintf(out + n_out, cap - n_out, "%s", last);
}

/* By the plan; by the rules alone where it wants importance, which it asks for after its choice. */
static bool choose(const tamis_gguf *g, const tamis_file_type *ft, const char *imatrix_path,
                   char *chosen, int64_t *layers) {
    tamis_quantize_plan *plan = NULL;
    const tamis_quantize_options o = {.file_type = ft, .imatrix_path = imatrix_path};
    tamis_error err;
    bool by_plan = tamis_quantize_plan_new(g, &o, &plan, &err) == TAMIS_OK;
    if (!by_plan) {
        if (!strstr(err.message, "needs importance data")) return false;
        /* borrow a plan for its order */
        const tamis_quantize_options copy = {.file_type = tamis_file_type_find("COPY")};
        assert_int_equal(tamis_quantize_plan_new(g, &copy, &plan, NULL), TAMIS_OK);
    }
    mix_state mix;
    assert_int_equal(mix_state_init(&mix, g, NULL, plan->steps, plan->n_steps, imatrix_path != NULL,
                                    NULL), TAMIS_OK);
    bool is_refused = false;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        const tamis_gguf_tensor *t = plan->steps[i].tensor;
        const tamis_type *type = plan->steps[i].type;
        if (!by_plan)
            type = mix_fit_row(tamis_type_by_id(mix_choose(&mix, ft, NULL, t->name, t)), t->ne[0]);
        is_refused |= !type;
        chosen[i] = letter(type);
        layers[i] = mix_layer_of(t->name);
    }
    tamis_quantize_plan_free(plan);
    return !is_refused;
}

static void check(const tamis_gguf *g, const char *model_name, const char *file_type,
                  const char *imatrix_path, const char *expected) {
    char chosen[1024], text[4096];
    int64_t layers[1024];
    const tamis_file_type *ft = tamis_file_type_find(file_type);
    assert_non_null(ft);
    if (choose(g, ft, imatrix_path, chosen, layers))
        fold(chosen, layers, tamis_gguf_n_tensors(g), text, sizeof text);
    else
        snprintf(text, sizeof text, "refused");
    if (strcmp(text, expected))
        fail_msg("%s as %s %s importance:\n  want %s\n  have %s", model_name, file_type,
                 imatrix_path ? "with" : "without", expected, text);
}

static void chooses_as_recorded(void **state) {
    (void)state;
    char gguf_path[4096], imatrix_path[4096], line[4096];
    snprintf(gguf_path, sizeof gguf_path, "%s/m.gguf", temp_dir());
    snprintf(imatrix_path, sizeof imatrix_path, "%s/i.gguf", temp_dir());
    FILE *table = fopen(source_path("tests/quantize_mixes.tsv"), "r");
    assert_non_null(table);
    tamis_gguf *g = NULL;
    model m;
    int n_rows = 0;
    while (fgets(line, sizeof line, table)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "# letters:", 10)) read_letters(line);
        if (line[0] == '#') continue;
        if (!strncmp(line, "model ", 6)) {
            tamis_gguf_close(g);
            read_model(line, &m);
            write_model(&m, gguf_path, imatrix_path);
            tamis_error err;
            if (tamis_gguf_open(gguf_path, NULL, &g, &err)) fail_msg("%s", err.message);
            continue;
        }
        char file_type[16], which;
        int at;
        assert_int_equal(sscanf(line, "%15s %c %n", file_type, &which, &at), 2);
        if (which != '+') check(g, m.name, file_type, NULL, line + at);
        if (which != '-') check(g, m.name, file_type, imatrix_path, line + at);
        n_rows++;
    }
    tamis_gguf_close(g);
    fclose(table);
    assert_true(n_rows > 600);
}

static void finds_file_types_by_whole_text(void **state) {
    (void)state;
    assert_string_equal(tamis_file_type_find("q4_k_m")->name, "Q4_K_M");
    assert_string_equal(tamis_file_type_find("15")->name, "Q4_K");
    assert_int_equal(tamis_file_type_find("Q4_K")->id, 15);
    assert_string_equal(tamis_file_type_find("0")->name, "F32");
    assert_null(tamis_file_type_find("15x.gguf"));
    assert_null(tamis_file_type_find("Q4_K_M.gguf"));
    assert_null(tamis_file_type_find("99"));
    assert_null(tamis_file_type_find("-1"));
    assert_null(tamis_file_type_find(""));
}

static void reads_layer_numbers(void **state) {
    (void)state;
    assert_int_equal(mix_layer_of("blk.12.ffn_up.weight"), 12);
    assert_int_equal(mix_layer_of("blk.0.x"), 0);
    assert_int_equal(mix_layer_of("blk.x"), -1);
    assert_int_equal(mix_layer_of("blk.12"), -1);
    assert_int_equal(mix_layer_of("blk..x"), -1);
    assert_int_equal(mix_layer_of("blk.99999999999999999999.x"), -1);
    assert_int_equal(mix_layer_of("output.weight"), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_as_recorded),
        cmocka_unit_test(finds_file_types_by_whole_text),
        cmocka_unit_test(reads_layer_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
