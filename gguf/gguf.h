/* gguf.h - the GGUF container: read, check, write. No tensor data is interpreted here.
 * Reading enforces reference/gguf.md section 3 and the invariants of
 * reference/gguf-threats.md section 2. A split set opens as one model. Files of
 * either byte order read alike (metadata is swapped on access, tensor data when
 * read through tamis_gguf_read_tensor). */
#ifndef TAMIS_GGUF_GGUF_H
#define TAMIS_GGUF_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "formats/formats.h"

typedef enum tamis_gguf_kind {
    TAMIS_GGUF_U8,
    TAMIS_GGUF_I8,
    TAMIS_GGUF_U16,
    TAMIS_GGUF_I16,
    TAMIS_GGUF_U32,
    TAMIS_GGUF_I32,
    TAMIS_GGUF_F32,
    TAMIS_GGUF_BOOL,
    TAMIS_GGUF_STRING,
    TAMIS_GGUF_ARRAY,
    TAMIS_GGUF_U64,
    TAMIS_GGUF_I64,
    TAMIS_GGUF_F64,
    TAMIS_GGUF_N_KINDS,
} tamis_gguf_kind;

/* "u8" ... "f64", "str", "arr". */
const char *tamis_gguf_kind_name(tamis_gguf_kind kind);

typedef struct tamis_gguf tamis_gguf;

/* Bytes borrowed from an open file; may hold NUL or invalid UTF-8, not NUL-terminated. */
typedef struct tamis_bytes {
    const char *data;
    size_t n_bytes;
} tamis_bytes;

/* One key and its value; data borrowed from the file. */
typedef struct tamis_gguf_kv {
    tamis_bytes key;
    tamis_gguf_kind kind;
    tamis_gguf_kind elem_kind; /* of an array; else = kind */
    uint64_t n_elems;          /* of an array; else 1 */
    int32_t index;             /* position in the file; handle for the tamis_gguf_kv_* calls */
} tamis_gguf_kv;

/* One tensor. Strings are NUL-terminated copies owned by the handle. */
typedef struct tamis_gguf_tensor {
    const char *name; /* 1..63 bytes, no NUL */
    int32_t n_dims;   /* 1..4 */
    uint64_t ne[4];   /* unused dimensions are 1 */
    int32_t type_id;
    const tamis_type *type; /* NULL when the id is unknown */
    uint64_t offset;        /* in its file's data section */
    uint64_t file_offset;   /* from byte 0 of its file */
    uint64_t n_bytes;       /* data without padding; for an unknown or retired type the extent
                               up to the next tensor, or 0 with is_size_known false */
    bool is_size_known;
    int32_t i_file; /* which file of the set */
} tamis_gguf_tensor;

typedef struct tamis_gguf_options {
    bool allow_gaps;      /* read files with unused bytes between tensors */
    bool no_map;          /* use reads instead of a mapping */
    bool single_file;     /* do not open the other files of a split set */
    const tamis_log *log; /* warnings (n_dims 0, bytes after the last tensor); may be NULL */
} tamis_gguf_options;

/* Open a GGUF file, or any file of a split set (all its files are opened).
 * Reads and checks header, metadata, tensor table and the known keys (rule 6, 15, 16 of
 * gguf-threats.md); no tensor data is touched. options may be NULL (defaults).
 * *out: close with tamis_gguf_close(); NULL on error. Names and values got from it are borrowed
 * and live until close. Memory: at most file size + 16 MiB. Thread-safe once open.
 * TAMIS_BAD_INPUT (unreadable or malformed; err names file, key or tensor, byte offset);
 * TAMIS_NO_RESOURCE (out of memory). */
tamis_status tamis_gguf_open(const char *path, const tamis_gguf_options *options, tamis_gguf **out,
                             tamis_error *err) TAMIS_MUST_USE;
/* The same from memory (fuzzing, tests); the bytes are borrowed until close. */
tamis_status tamis_gguf_open_memory(const void *data, size_t n_bytes,
                                    const tamis_gguf_options *options, tamis_gguf **out,
                                    tamis_error *err) TAMIS_MUST_USE;
void tamis_gguf_close(tamis_gguf *g);

const char *tamis_gguf_path(const tamis_gguf *g); /* first file */
uint32_t tamis_gguf_version(const tamis_gguf *g);
bool tamis_gguf_is_big_endian(const tamis_gguf *g);
uint32_t tamis_gguf_alignment(const tamis_gguf *g);
int32_t tamis_gguf_n_files(const tamis_gguf *g);
const char *tamis_gguf_file_path(const tamis_gguf *g, int32_t i_file);
uint64_t tamis_gguf_file_size(const tamis_gguf *g, int32_t i_file);
uint64_t tamis_gguf_data_offset(const tamis_gguf *g, int32_t i_file);
/* Bytes after the last tensor and its padding, over all files. */
uint64_t tamis_gguf_trailing_bytes(const tamis_gguf *g);
/* True when `path` is one of the open files (same inode): outputs must not be. */
bool tamis_gguf_has_file(const tamis_gguf *g, const char *path);

/* --- metadata (of the first file of a set) --- */
int32_t tamis_gguf_n_kv(const tamis_gguf *g);
tamis_gguf_kv tamis_gguf_kv_at(const tamis_gguf *g, int32_t index);
/* False when the key is absent. */
bool tamis_gguf_find(const tamis_gguf *g, const char *key, tamis_gguf_kv *out);
/* Say that a key asked for is absent, with the nearest one that is there: TAMIS_BAD_USAGE. */
tamis_status tamis_gguf_fail_no_key(const tamis_gguf *g, const char *key, tamis_error *err);

/* Element i of a value (i = 0 for a scalar; i < kv.n_elems). The kind must fit: integers and bools
 * convert to int64 (u64 above INT64_MAX: false), every number to double. False when it does not. */
bool tamis_gguf_kv_int(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, int64_t *out);
bool tamis_gguf_kv_uint(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, uint64_t *out);
bool tamis_gguf_kv_double(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, double *out);
bool tamis_gguf_kv_bool(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, bool *out);
/* String value, or string element i. For string arrays element access is O(1) amortised when i
 * ascends, O(n) otherwise; use a cursor for whole arrays. */
bool tamis_gguf_kv_string(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i,
                          tamis_bytes *out);
/* Walk a string array: *cursor starts at 0; false after the last element. */
bool tamis_gguf_kv_next_string(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t *cursor,
                               tamis_bytes *out);

/* Typed getters by key. Absent: *out = fallback and TAMIS_OK. Any integer width is accepted when
 * the value lies in [lo, hi]; the wrong type or range is TAMIS_BAD_INPUT naming the key; the caller
 * puts the file before it. */
tamis_status tamis_gguf_get_int(const tamis_gguf *g, const char *key, int64_t lo, int64_t hi,
                                int64_t fallback, int64_t *out, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_get_double(const tamis_gguf *g, const char *key, double fallback,
                                   double *out, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_get_bool(const tamis_gguf *g, const char *key, bool fallback, bool *out,
                                 tamis_error *err) TAMIS_MUST_USE;
/* Absent: data NULL. */
tamis_status tamis_gguf_get_string(const tamis_gguf *g, const char *key, tamis_bytes *out,
                                   tamis_error *err) TAMIS_MUST_USE;

/* --- tensors (of the whole set, in file order) --- */
int64_t tamis_gguf_n_tensors(const tamis_gguf *g);
const tamis_gguf_tensor *tamis_gguf_tensor_at(const tamis_gguf *g, int64_t i);
const tamis_gguf_tensor *tamis_gguf_find_tensor(const tamis_gguf *g,
                                                const char *name); /* or NULL */
uint64_t tamis_tensor_n_elems(const tamis_gguf_tensor *t);
uint64_t tamis_tensor_n_rows(const tamis_gguf_tensor *t); /* ne1 * ne2 * ne3 */
/* Bytes of one row; 0 when the size is unknown. */
uint64_t tamis_tensor_row_bytes(const tamis_gguf_tensor *t);

/* Copy n_bytes of a tensor's data from byte `offset` of it to dst, in this machine's byte order
 * (ranges of big-endian files must be whole blocks). TAMIS_BAD_INPUT naming file and tensor when
 * the file has become too short. Thread-safe. */
tamis_status tamis_gguf_read_tensor(const tamis_gguf *g, const tamis_gguf_tensor *t,
                                    uint64_t offset, uint64_t n_bytes, void *dst,
                                    tamis_error *err) TAMIS_MUST_USE;
/* The same bytes as they lie in the file, whatever its byte order and the tensor's type. */
tamis_status tamis_gguf_read_raw(const tamis_gguf *g, const tamis_gguf_tensor *t, uint64_t offset,
                                 uint64_t n_bytes, void *dst, tamis_error *err) TAMIS_MUST_USE;

/* --- names (keys that the reference fixes) --- */
/* Name of a general.file_type value ("Q4_K_M"), or NULL. */
const char *tamis_file_type_name(int64_t file_type);
/* The i-th key that the format gives a meaning, "{arch}" standing for the architecture's name;
 * NULL behind the last. */
const char *tamis_gguf_known_key(size_t i);

/* --- writing --- */
typedef struct tamis_gguf_writer tamis_gguf_writer;

/* A new writer: version 3, little-endian, alignment 32 unless set. Collect keys and tensor infos,
 * then begin, then stream the data in the order of the infos. Free with
 * tamis_gguf_writer_free() (which discards an uncommitted output). */
tamis_status tamis_gguf_writer_new(tamis_gguf_writer **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_gguf_writer_free(tamis_gguf_writer *w);

/* Set a key: replaces the value in place when the key exists, else appends. Values are copied. */
tamis_status tamis_gguf_set_uint(tamis_gguf_writer *w, const char *key, tamis_gguf_kind kind,
                                 uint64_t value, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_set_int(tamis_gguf_writer *w, const char *key, tamis_gguf_kind kind,
                                int64_t value, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_set_double(tamis_gguf_writer *w, const char *key, tamis_gguf_kind kind,
                                   double value, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_set_bool(tamis_gguf_writer *w, const char *key, bool value,
                                 tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_set_string(tamis_gguf_writer *w, const char *key, const char *data,
                                   size_t n_bytes, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_set_strings(tamis_gguf_writer *w, const char *key, const char *const *items,
                                    uint64_t n_items, tamis_error *err) TAMIS_MUST_USE;
/* Copy one value (any kind, byte order turned to little-endian), or all of them in order. */
tamis_status tamis_gguf_set_copy(tamis_gguf_writer *w, const tamis_gguf *from,
                                 const tamis_gguf_kv *kv, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_set_all(tamis_gguf_writer *w, const tamis_gguf *from,
                                tamis_error *err) TAMIS_MUST_USE;
/* Copy an array of numbers or bools without some of its elements: keep[i] says whether element i
 * stays. TAMIS_BAD_USAGE for any other value. */
tamis_status tamis_gguf_set_filtered(tamis_gguf_writer *w, const tamis_gguf *from,
                                     const tamis_gguf_kv *kv, const bool *keep,
                                     tamis_error *err) TAMIS_MUST_USE;
/* Remove a key; no error when absent. */
void tamis_gguf_unset(tamis_gguf_writer *w, const char *key);

/* Append a tensor info; trailing dimensions of 1 are trimmed. The alignment key in force when
 * begin is called decides the layout. */
tamis_status tamis_gguf_add_tensor(tamis_gguf_writer *w, const char *name, int32_t type_id,
                                   int32_t n_dims, const uint64_t *ne,
                                   tamis_error *err) TAMIS_MUST_USE;

/* The same as a tensor of an open file, of any type whose size or extent is known; all of them, in
 * order. */
tamis_status tamis_gguf_add_copy(tamis_gguf_writer *w, const tamis_gguf_tensor *like,
                                 tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_add_all(tamis_gguf_writer *w, const tamis_gguf *from,
                                tamis_error *err) TAMIS_MUST_USE;

/* Where one file ends and the next begins when an output is spread over several. */
typedef struct tamis_gguf_shards {
    uint64_t max_bytes;   /* of tensor data with padding in a file; 0 = no limit. A larger tensor
                             gets a file of its own */
    uint64_t max_tensors; /* in a file; 0 = no limit */
    bool keys_alone;      /* the first file holds the metadata and no tensor */
} tamis_gguf_shards;

/* Spread the output over files "<prefix>-00001-of-0000N.gguf" (reference/gguf.md section 4),
 * <prefix> being begin's path without ".gguf" and without such an ending. Keys go to the first
 * file, the three split keys to all (those of a source are replaced), and general.alignment too
 * when it is not 32. To be called after the last
 * tensor was added. TAMIS_BAD_USAGE when more than 65535 files would result. */
tamis_status tamis_gguf_set_shards(tamis_gguf_writer *w, const tamis_gguf_shards *shards,
                                   tamis_error *err) TAMIS_MUST_USE;
/* The same with given places: file i holds n_tensors[i] tensors (0 is possible), n_files >= 1. */
tamis_status tamis_gguf_set_shard_counts(tamis_gguf_writer *w, const uint64_t *n_tensors,
                                         uint64_t n_files, tamis_error *err) TAMIS_MUST_USE;
/* Files that begin makes of `path`: their number (1 without shards), the tensors in one, its name.
 * *out: free() it. */
uint64_t tamis_gguf_writer_n_files(const tamis_gguf_writer *w);
uint64_t tamis_gguf_writer_file_tensors(const tamis_gguf_writer *w, uint64_t i_file);
tamis_status tamis_gguf_writer_path(const tamis_gguf_writer *w, const char *path, uint64_t i_file,
                                    char **out, tamis_error *err) TAMIS_MUST_USE;

/* Exact size of the finished file, or of all files, known before any data is written; and of file
 * i_file alone. */
tamis_status tamis_gguf_writer_size(const tamis_gguf_writer *w, uint64_t *out,
                                    tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_writer_file_size(const tamis_gguf_writer *w, uint64_t i_file, uint64_t *out,
                                         tamis_error *err) TAMIS_MUST_USE;

/* Before begin: do not wait for the disk in commit, see tamis_output_skip_sync(). */
void tamis_gguf_writer_skip_sync(tamis_gguf_writer *w);

/* Open the output (atomic_file), reserve its space, write header and infos. With shards, every
 * file is written under its temporary name and all are renamed by commit. */
tamis_status tamis_gguf_begin(tamis_gguf_writer *w, const char *path,
                              tamis_error *err) TAMIS_MUST_USE;
/* Append data of the current tensor (any split into pieces); padding follows by itself when the
 * tensor is complete. More bytes than it has: an internal error, TAMIS_BAD_USAGE. */
tamis_status tamis_gguf_write_data(tamis_gguf_writer *w, const void *data, uint64_t n_bytes,
                                   tamis_error *err) TAMIS_MUST_USE;
/* The whole data of a tensor of an open file, little-endian, as that of the current tensor. It
 * streams; open the file with no_map, which is faster here. `progress` (may be NULL) advances by
 * bytes. TAMIS_INTERRUPTED when the person asked to stop. */
tamis_status tamis_gguf_write_copy(tamis_gguf_writer *w, const tamis_gguf *from,
                                   const tamis_gguf_tensor *t, tamis_progress *progress,
                                   tamis_error *err) TAMIS_MUST_USE;
/* Replace a string value after begin by one of the same length, for what is known only at the end
 * (a hash). TAMIS_BAD_USAGE when the key holds no string of that length. */
tamis_status tamis_gguf_rewrite_string(tamis_gguf_writer *w, const char *key, const char *data,
                                       size_t n_bytes, tamis_error *err) TAMIS_MUST_USE;
/* Would a reader take the keys as they are set? What tamis_gguf_open() checks of the metadata.
 * TAMIS_BAD_INPUT naming the key. */
tamis_status tamis_gguf_check_keys(const tamis_gguf_writer *w, tamis_error *err) TAMIS_MUST_USE;
/* Open file i_file of what has been written, once all data was given and before commit, to see it
 * as a reader will. *out: to be closed before commit; NULL when the output is a pipe or a device
 * and cannot be read. */
tamis_status tamis_gguf_open_written(tamis_gguf_writer *w, uint64_t i_file, tamis_gguf **out,
                                     tamis_error *err) TAMIS_MUST_USE;
/* Check that every tensor is complete, sync, rename. */
tamis_status tamis_gguf_commit(tamis_gguf_writer *w, tamis_error *err) TAMIS_MUST_USE;

#endif
