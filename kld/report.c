/* report.c - see report.h; line names: reference/files.md section C.4. */
#include "kld/report.h"

#include "base/parse.h"

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

static void print_quant(const tamis_kld_result *r, const tamis_kld_quant *quant, FILE *stream) {
    fprintf(stream, "%s against %s: %lld positions of %lld chunks of %lld tokens\n\n",
            quant->model.name, r->parent.name, (long long)r->n_rows, (long long)r->n_chunks,
            (long long)r->n_ctx);
    for (int i = 0; i < TAMIS_KLD_N_STATS; ++i) {
        const tamis_kld_stat_info *info = &tamis_kld_stat_table[i];
        if (i == 0 || info->block != tamis_kld_stat_table[i - 1].block)
            fprintf(stream, "%s%s\n", i ? "\n" : "", BLOCK_TITLES[info->block]);
        print_stat(info, quant->stats.of[i], stream);
    }
    fprintf(stream, "\n");
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

static void print_row(const tamis_kld_quant *quant, int width, FILE *stream) {
    char size[32];
    const tamis_kld_stat *of = quant->stats.of;
    print_padded(quant->model.name, width, stream);
    fprintf(stream, "  %10s %6.3f  %9.6f ± %8.6f %10.6f %10.6f  %7.3f ± %5.3f  %11.4f  %8.6f\n",
            tamis_format_size(quant->model.n_bytes, size, sizeof size),
            quant->model.bits_per_weight, of[TAMIS_KLD_MEAN].value, of[TAMIS_KLD_MEAN].error,
            of[TAMIS_KLD_999].value, of[TAMIS_KLD_MAX].value, of[TAMIS_KLD_SAME_TOP].value,
            of[TAMIS_KLD_SAME_TOP].error, of[TAMIS_KLD_PPL_Q].value, of[TAMIS_KLD_RATIO].value);
}

static void print_table(const tamis_kld_result *r, FILE *stream) {
    char size[32];
    int width = n_columns(r->parent.name);
    for (size_t i = 0; i < r->n_quants; ++i) {
        const int n = n_columns(r->quants[i].model.name);
        if (n > width) width = n;
    }
    print_padded("file", width, stream);
    fprintf(stream, "  %10s %6s  %20s %10s %10s  %15s  %11s  %9s\n", "size", "bpw", "mean KLD",
            "99.9 % KLD", "max KLD", "same top token %", "PPL", "PPL ratio");
    print_padded(r->parent.name, width, stream);
    fprintf(stream, "  %10s %6.3f  %20s %10s %10s  %15s  %11.4f  %8s\n",
            tamis_format_size(r->parent.n_bytes, size, sizeof size), r->parent.bits_per_weight,
            "parent", "-", "-", "-", r->parent_perplexity.ppl, "1");
    for (size_t i = 0; i < r->n_quants; ++i)
        print_row(&r->quants[i], width, stream);
}

void tamis_kld_report_text(const tamis_kld_result *result, bool only_table, FILE *stream) {
    if (result->n_quants == 0) {
        fprintf(stream, "%s: PPL = %.4f ± %.5f (%lld positions of %lld chunks of %lld tokens)\n",
                result->parent.name, result->parent_perplexity.ppl,
                result->parent_perplexity.ppl_error, (long long)result->n_rows,
                (long long)result->n_chunks, (long long)result->n_ctx);
        return;
    }
    for (size_t i = 0; i < result->n_quants && !only_table; ++i)
        print_quant(result, &result->quants[i], stream);
    print_table(result, stream);
}
