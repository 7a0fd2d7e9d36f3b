/* model.c - opening a model: architecture, hyper-parameters, tensors, all checked before any
 * tensor data is read. Metadata facts: reference/architectures.md section 0. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/contents.h"
#include "model/arch/arch.h"

/* "llama, qwen2, qwen3" */
static const char *list_archs(char *out, size_t cap) {
    int n_archs;
    const char *const *names = tamis_model_known_archs(&n_archs);
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < n_archs && n < cap; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", names[i]);
    return out;
}

static tamis_status find_arch(tamis_model *m, tamis_error *err) {
    tamis_bytes name;
    char parts[256];
    if (tamis_gguf_is_mmproj(m->gguf))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "this is a projector file (mmproj: %s) without a text model to run; give "
                          "the GGUF file of the model that it belongs to",
                          tamis_gguf_contents_text(m->gguf, parts, sizeof parts));
    tamis_status st = tamis_gguf_get_string(m->gguf, "general.architecture", &name, err);
    if (st) return st;
    if (!name.data)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'general.architecture' is missing; this is no model that can run");
    m->arch = tamis_arch_find(name.data, name.n_bytes);
    if (m->arch) return TAMIS_OK;
    char shown[64], known[512];
    return tamis_fail(err, TAMIS_BAD_INPUT, "architecture '%s' is unknown; known are %s",
                      tamis_escape(name.data, name.n_bytes, shown, sizeof shown),
                      list_archs(known, sizeof known));
}

static tamis_status check_model(tamis_model *m, tamis_error *err) {
    tamis_status st = find_arch(m, err);
    if (st) return st;
    const tamis_keys keys = {.gguf = m->gguf, .arch = m->arch->name};
    st = tamis_hparams_read(&keys, &m->hp, err);
    if (!st) st = m->arch->check(&keys, &m->hp, err);
    if (!st) st = tamis_hparams_check(&keys, &m->hp, err);
    if (!st && m->hp.ropes[TAMIS_ROPE_MAIN].scaling == TAMIS_ROPE_LONGROPE &&
        !m->arch->has_rope_factors)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "architecture '%s' has no longrope scaling",
                        m->arch->name);
    if (!st) st = tamis_tensors_check(m->gguf, m->arch, &m->hp, err);
    if (st) return st;
    m->token_embd = tamis_gguf_find_tensor(m->gguf, "token_embd.weight");
    m->head = tamis_gguf_find_tensor(m->gguf, "output.weight");
    if (!m->head) m->head = m->token_embd;
    return TAMIS_OK;
}

tamis_status tamis_model_open(const char *path, const tamis_log *log, tamis_model **out,
                              tamis_error *err) {
    *out = NULL;
    tamis_model *m = tamis_alloc_array(1, sizeof *m, err);
    if (!m) return TAMIS_NO_RESOURCE;
    /* plain reads: mapped pages would count as memory of the run for as long as it lasts */
    tamis_gguf_options options = {.no_map = true, .log = log};
    tamis_status st = tamis_gguf_open(path, &options, &m->gguf, err);
    if (st) goto out;
    st = check_model(m, err);
    if (st) tamis_fail_prefix(err, "%s", path);
out:
    if (st)
        tamis_model_close(m);
    else
        *out = m;
    return st;
}

void tamis_model_close(tamis_model *m) {
    if (!m) return;
    tamis_gguf_close(m->gguf);
    free(m->hp.layers);
    free(m);
}

const tamis_gguf *tamis_model_gguf(const tamis_model *m) {
    return m->gguf;
}

const char *tamis_model_path(const tamis_model *m) {
    return tamis_gguf_path(m->gguf);
}

const char *tamis_model_arch(const tamis_model *m) {
    return m->arch->name;
}

int64_t tamis_model_n_layers(const tamis_model *m) {
    return m->hp.n_layers;
}

int64_t tamis_model_n_mtp(const tamis_model *m) {
    return m->hp.n_mtp;
}

int64_t tamis_model_n_embd(const tamis_model *m) {
    return m->hp.n_embd;
}

int64_t tamis_model_n_vocab(const tamis_model *m) {
    return m->hp.n_vocab;
}

int64_t tamis_model_context_length(const tamis_model *m) {
    return m->hp.context_length;
}
