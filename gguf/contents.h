/* contents.h - which parts of a model a file holds: the text model, blocks that predict further
 * tokens, vision and audio towers, projectors. Told from the names of tensors and the few keys that
 * count blocks; no tensor data is read. */
#ifndef TAMIS_GGUF_CONTENTS_H
#define TAMIS_GGUF_CONTENTS_H

#include "gguf/gguf.h"

typedef enum tamis_part {
    TAMIS_PART_TEXT,
    TAMIS_PART_MTP,       /* blocks behind the last executed layer */
    TAMIS_PART_VISION,    /* "v." */
    TAMIS_PART_AUDIO,     /* "a." */
    TAMIS_PART_PROJECTOR, /* "mm.": from a tower to the width of the text model */
    TAMIS_N_PARTS,
} tamis_part;

/* "text model", "MTP", "vision tower", "audio tower", "projector" */
const char *tamis_part_name(tamis_part part);
/* Of a tensor; first_mtp: number of the first such block, INT64_MAX when there is none. */
tamis_part tamis_part_of(const char *name, int64_t first_mtp);
/* True for what is no text model: a tower or a projector. */
bool tamis_part_is_modal(tamis_part part);

/* block_count less nextn_predict_layers where a file has such blocks, else INT64_MAX. */
int64_t tamis_gguf_first_mtp(const tamis_gguf *g);
/* True for a file of towers and projectors that goes beside a text model (general.type "mmproj" or
 * architecture "clip"). */
bool tamis_gguf_is_mmproj(const tamis_gguf *g);

typedef struct tamis_part_sums {
    int64_t n_tensors, n_blocks; /* blocks: up to the one of the largest number */
    uint64_t n_elems, n_bytes;
} tamis_part_sums;

/* What each part adds up to. */
void tamis_gguf_contents(const tamis_gguf *g, tamis_part_sums sums[TAMIS_N_PARTS]);
/* "text model (24 layers), MTP (1 block), vision tower (27 blocks), projector"; "" for a file of
 * another kind (without an architecture, or an importance matrix or an adapter by its type). */
const char *tamis_gguf_contents_text(const tamis_gguf *g, char *out, size_t cap);

#endif
