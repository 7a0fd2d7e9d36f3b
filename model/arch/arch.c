/* arch.c - the table of architectures: a name and a row for each family member. */
#include "model/arch/arch.h"

#include <string.h>

/* clang-format off */
static const char *const names[] = {
    "deepseek2",
    "gemma3",
    "gemma4",
    "glm4moe",
    "gpt-oss",
    "llama",
    "mistral3",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen35",
    "qwen35moe",
    "qwen3moe",
    "qwen3next",
    "qwen3vl",
    "qwen3vlmoe",
    "seed_oss",
};
static const tamis_arch *const archs[] = {
    &tamis_arch_deepseek2,
    &tamis_arch_gemma3,
    &tamis_arch_gemma4,
    &tamis_arch_glm4moe,
    &tamis_arch_gpt_oss,
    &tamis_arch_llama,
    &tamis_arch_mistral3,
    &tamis_arch_qwen2,
    &tamis_arch_qwen2moe,
    &tamis_arch_qwen3,
    &tamis_arch_qwen35,
    &tamis_arch_qwen35moe,
    &tamis_arch_qwen3moe,
    &tamis_arch_qwen3next,
    &tamis_arch_qwen3vl,
    &tamis_arch_qwen3vlmoe,
    &tamis_arch_seed_oss,
};
/* clang-format on */
enum { N_ARCHS = sizeof archs / sizeof archs[0] };
_Static_assert(sizeof names / sizeof names[0] == N_ARCHS, "one name per architecture");

const tamis_arch *tamis_arch_find(const char *name, size_t n_bytes) {
    for (int i = 0; i < N_ARCHS; i++)
        if (strlen(archs[i]->name) == n_bytes && memcmp(archs[i]->name, name, n_bytes) == 0)
            return archs[i];
    return NULL;
}

const char *const *tamis_model_known_archs(int *n) {
    *n = N_ARCHS;
    return names;
}
