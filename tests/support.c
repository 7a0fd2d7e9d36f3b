/* support.c - see support.h. */
#include "support.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/formats.h"

static char ring[8][4096];
static unsigned i_ring;

static const char *join(const char *root, const char *format, va_list args) {
    char *out = ring[i_ring++ % 8];
    int n = snprintf(out, sizeof ring[0], "%s/", root);
    vsnprintf(out + n, sizeof ring[0] - (size_t)n, format, args);
    return out;
}

static const char *shared_root(void) {
    const char *env = getenv("TAMIS_SHARED");
    return env && *env ? env : TAMIS_SHARED_DIR;
}

const char *shared_path(const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *out = join(shared_root(), format, args);
    va_end(args);
    return out;
}

const char *source_path(const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *out = join(TAMIS_SOURCE_DIR, format, args);
    va_end(args);
    return out;
}

void require_shared(void) {
    if (access(shared_path("fixtures"), R_OK) == 0) return;
    printf("skipped: no reference fixtures at %s\n", shared_root());
    exit(77);
}

static char temp_root[4096];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void remove_temp(void) {
    nftw(temp_root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *temp_dir(void) {
    if (temp_root[0]) return temp_root;
    const char *base = getenv("TMPDIR");
    snprintf(temp_root, sizeof temp_root, "%s/tamis-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(temp_root)) fail_msg("cannot make a directory in %s", base ? base : "/tmp");
    atexit(remove_temp);
    return temp_root;
}

char *slurp(const char *path, size_t *n_bytes) {
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s", path);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    char *data = malloc((size_t)size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)size, f), (size_t)size);
    data[size] = 0;
    fclose(f);
    if (n_bytes) *n_bytes = (size_t)size;
    return data;
}

cJSON *slurp_json(const char *path) {
    char *text = slurp(path, NULL);
    cJSON *json = cJSON_Parse(text);
    if (!json) fail_msg("%s: not JSON", path);
    free(text);
    return json;
}

int for_each_valid_gguf(void (*fn)(const char *name)) {
    static const char suffix[] = ".gguf";
    DIR *dir = opendir(shared_path("fixtures/gguf/valid"));
    int n = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        char name[256];
        const size_t n_name = strlen(e->d_name), n_suffix = strlen(suffix);
        if (n_name < n_suffix || strcmp(e->d_name + n_name - n_suffix, suffix)) continue;
        snprintf(name, sizeof name, "%.*s", (int)(n_name - n_suffix), e->d_name);
        fn(name);
        n++;
    }
    closedir(dir);
    return n;
}

bool use_cpu(const char *level) {
    setenv("TAMIS_CPU", level, 1);
    tamis_formats_init();
    if (!*level || strcmp(tamis_formats_cpu(), level) == 0) return true;
    printf("this CPU has no %s\n", level);
    return false;
}
