/* report.c - see report.h; line names: reference/files.md section C.4. */
#include "kld/report.h"

#include "base/parse.h"
#include "kld/report_internal.h"

enum { MAX_NAME = 27, SIZE_COLUMNS = 11 };

static const char *const BLOCK_TITLES[] = {
    [TAMIS_KLD_PPL] = "====== Perplexity statistics ======",
    [TAMIS_KLD_KLD] = "====== KL divergence statistics ======",
    [TAMIS_KLD_DP] = "====== Token probability statistics ======",
};

static void print_stat(const tamis_kld_stat_info *info, tamis_kld_stat s, FILE *stream) {
    if (info->is_percent)
        fprintf(stream, "%s: %6.3f ± %5.3f %%\n", info->label, s.value, s.error);
    else
        fprintf(stream, "%s: %10.6f ± %10.6f\n", info->label, s.value, s.error);
}

/* What is printed of a multi-token prediction block; the rest is in the JSON. */
static bool is_of_mtp(int i) {
    return i == TAMIS_KLD_PPL_Q || i == TAMIS_KLD_PPL_P || i == TAMIS_KLD_RATIO ||
           i == TAMIS_KLD_SAME_TOP || tamis_kld_stat_table[i].block == TAMIS_KLD_KLD;
}

static void print_mtp(const tamis_kld_mtp *mtp, int64_t i_block, FILE *stream) {
    const struct {
        const char *label;
        tamis_kld_stat stat;
    } rows[] = {
        {"Drafts accepted, base", mtp->parent.acceptance},
        {"Drafts accepted, Q   ", mtp->quant.acceptance},
        {"Difference           ", mtp->difference},
    };
    fprintf(stream, "====== Multi-token prediction, block %lld: %lld positions ======\n",
            (long long)i_block + 1, (long long)mtp->stats.n);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i)
        fprintf(stream, "%s: %6.3f ± %5.3f %%\n", rows[i].label, rows[i].stat.value,
                rows[i].stat.error);
    for (int i = 0; i < TAMIS_KLD_N_STATS; ++i)
        if (is_of_mtp(i)) print_stat(&tamis_kld_stat_table[i], mtp->stats.of[i], stream);
    fprintf(stream, "\n");
}

static void print_quant(const tamis_kld_result *r, const tamis_kld_quant *quant, FILE *stream) {
    fprintf(stream, "%s against %s: %lld positions of %lld chunks of %lld tokens\n\n",
            quant->model.name, r->parent.name, (long long)r->n_rows, (long long)r->n_chunks,
            (long long)r->n_ctx);
    if (quant->running) tamis_kld_print_running(quant->running, r->n_chunks, stream);
    for (int i = 0; i < TAMIS_KLD_N_STATS; ++i) {
        const tamis_kld_stat_info *info = &tamis_kld_stat_table[i];
        if (i == 0 || info->block != tamis_kld_stat_table[i - 1].block)
            fprintf(stream, "%s%s\n", i ? "\n" : "", BLOCK_TITLES[info->block]);
        print_stat(info, quant->stats.of[i], stream);
    }
    fprintf(stream, "\n");
    for (int64_t k = 0; k < r->n_mtp; ++k)
        print_mtp(&quant->mtp[k], k, stream);
    if (quant->worst.n) tamis_kld_print_worst(&quant->worst, stream);
}

/* Columns a reader sees, not bytes: names may hold UTF-8. */
static int n_columns(const char *text) {
    int n = 0;
    for (; *text; ++text)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void print_padded(const char *text, int width, FILE *stream) {
    fprintf(stream, "%s%*s", text, width - n_columns(text), "");
}

/* The name in at most MAX_NAME columns, its middle left out where it is longer: the end says what
 * kind of file it is. */
static const char *short_name(const char *name, char out[256]) {
    const int n = n_columns(name), n_cut = n - MAX_NAME + 3;
    if (n <= MAX_NAME) return name;
    const int first = (MAX_NAME - 3) / 2;
    int column = -1;
    size_t k = 0;
    for (const char *c = name; *c; ++c) {
        column += ((unsigned char)*c & 0xC0) != 0x80;
        if (column >= first && column < first + n_cut) {
            if (column == first && ((unsigned char)*c & 0xC0) != 0x80)
                for (int dot = 0; dot < 3; ++dot)
                    out[k++] = '.';
            continue;
        }
        out[k++] = *c;
    }
    out[k] = 0;
    return out;
}

/* Widths of the table's first columns. */
typedef struct columns {
    int name;
    bool has_size;
} columns;

static void print_model(const tamis_kld_identity *model, columns c, FILE *stream) {
    char name[256], text[32];
    print_padded(short_name(model->name, name), c.name, stream);
    if (c.has_size)
        fprintf(stream, "  %9s",
                model->n_bytes ? tamis_format_size(model->n_bytes, text, sizeof text) : "-");
    snprintf(text, sizeof text, "%.3f", model->bits_per_weight);
    fprintf(stream, " %6s", model->n_bytes ? text : "-");
}

static void print_row(const tamis_kld_quant *quant, columns c, FILE *stream) {
    const tamis_kld_stat *of = quant->stats.of;
    print_model(&quant->model, c, stream);
    fprintf(stream, "  %8.6f ± %8.6f %8.5f %8.5f  %6.2f ± %4.2f  %10.4f\n",
            of[TAMIS_KLD_MEAN].value, of[TAMIS_KLD_MEAN].error, of[TAMIS_KLD_999].value,
            of[TAMIS_KLD_MAX].value, of[TAMIS_KLD_SAME_TOP].value, of[TAMIS_KLD_SAME_TOP].error,
            of[TAMIS_KLD_PPL_Q].value);
}

static void print_mtp_row(const tamis_kld_quant *quant, int64_t i_block, columns c, FILE *stream) {
    const tamis_kld_mtp *mtp = &quant->mtp[i_block];
    const tamis_kld_stat *of = mtp->stats.of;
    print_model(&quant->model, c, stream);
    fprintf(stream, "  %8.6f ± %8.6f %8.5f %8.5f  %6.2f ± %4.2f  %10.4f\n",
            of[TAMIS_KLD_MEAN].value, of[TAMIS_KLD_MEAN].error, of[TAMIS_KLD_999].value,
            of[TAMIS_KLD_MAX].value, mtp->quant.acceptance.value, mtp->quant.acceptance.error,
            of[TAMIS_KLD_PPL_Q].value);
}

static int wider(int width, const char *name) {
    char shortened[256];
    const int n = n_columns(short_name(name, shortened));
    return n > width ? n : width;
}

static void print_titles(columns c, const char *share, FILE *stream) {
    print_padded("file", c.name, stream);
    if (c.has_size) fprintf(stream, "  %9s", "size");
    fprintf(stream, " %6s  %19s %8s %8s  %13s  %10s\n", "bpw", "mean KLD", "99.9 %", "max", share,
            "PPL");
}

/* The same of a multi-token prediction block, with the drafts accepted. */
static void print_mtp_table(const tamis_kld_result *r, int64_t i_block, columns c, FILE *stream) {
    const tamis_kld_drafts *p = &r->parent_drafts[i_block];
    fprintf(stream, "\nmulti-token prediction, block %lld\n", (long long)i_block + 1);
    print_titles(c, "accepted %", stream);
    print_model(&r->parent, c, stream);
    fprintf(stream, "  %19s %8s %8s  %6.2f ± %4.2f  %10.4f\n", "parent", "-", "-",
            p->acceptance.value, p->acceptance.error, p->perplexity.ppl);
    for (size_t i = 0; i < r->n_quants; ++i)
        print_mtp_row(&r->quants[i], i_block, c, stream);
}

/* At most 100 columns; what does not fit is in the blocks and in the JSON. */
static void print_table(const tamis_kld_result *r, FILE *stream) {
    columns c = {.name = wider(4, r->parent.name)};
    for (size_t i = 0; i < r->n_quants; ++i)
        c.name = wider(c.name, r->quants[i].model.name);
    c.has_size = c.name <= MAX_NAME - SIZE_COLUMNS;
    print_titles(c, "same top %", stream);
    print_model(&r->parent, c, stream); /* a base of llama-perplexity tells no size */
    fprintf(stream, "  %19s %8s %8s  %13s  %10.4f\n", "parent", "-", "-", "-",
            r->parent_perplexity.ppl);
    for (size_t i = 0; i < r->n_quants; ++i)
        print_row(&r->quants[i], c, stream);
    for (int64_t k = 0; k < r->n_mtp; ++k)
        print_mtp_table(r, k, c, stream);
}

static void print_parent(const tamis_kld_result *r, FILE *stream) {
    fprintf(stream, "%s: PPL = %.4f ± %.5f (%lld positions of %lld chunks of %lld tokens)\n",
            r->parent.name, r->parent_perplexity.ppl, r->parent_perplexity.ppl_error,
            (long long)r->n_rows, (long long)r->n_chunks, (long long)r->n_ctx);
    for (int64_t k = 0; k < r->n_mtp; ++k) {
        const tamis_kld_drafts *d = &r->parent_drafts[k];
        fprintf(stream,
                "multi-token prediction, block %lld: %.3f ± %.3f %% of drafts accepted, PPL = %.4f "
                "± %.5f (%lld positions)\n",
                (long long)k + 1, d->acceptance.value, d->acceptance.error, d->perplexity.ppl,
                d->perplexity.ppl_error, (long long)d->perplexity.n);
    }
}

void tamis_kld_report_text(const tamis_kld_result *result, bool only_table, FILE *stream) {
    if (result->n_quants == 0) {
        print_parent(result, stream);
        return;
    }
    for (size_t i = 0; i < result->n_quants && !only_table; ++i)
        print_quant(result, &result->quants[i], stream);
    print_table(result, stream);
}
