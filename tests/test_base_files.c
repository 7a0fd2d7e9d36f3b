/* test_base_files.c - atomic outputs, inputs that change underneath, hashes. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/hash.h"
#include "base/input_file.h"
#include "base/threads.h"
#include "support.h"

static tamis_error err;

static const char *in_temp(const char *name) {
    static char ring[4][4200];
    static unsigned i;
    char *out = ring[i++ % 4];
    snprintf(out, sizeof ring[0], "%s/%s", temp_dir(), name);
    return out;
}

static void put_file(const char *path, const char *text) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void assert_file(const char *path, const char *wanted) {
    char *text = slurp(path, NULL);
    assert_string_equal(text, wanted);
    free(text);
}

/* Entries of the temporary folder whose name holds ".tamis-". */
static int n_temporaries(void) {
    DIR *d = opendir(temp_dir());
    assert_non_null(d);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));)
        n += strstr(e->d_name, ".tamis-") != NULL;
    closedir(d);
    return n;
}

static void commit_replaces_and_keeps_permissions(void **state) {
    (void)state;
    const char *path = in_temp("kept");
    put_file(path, "old");
    assert_int_equal(chmod(path, 0640), 0);
    tamis_output *out = NULL;
    assert_int_equal(tamis_output_open(path, &out, &err), TAMIS_OK);
    assert_int_equal(tamis_output_reserve(out, 3 << 20, &err), TAMIS_OK);
    assert_int_equal(tamis_output_write(out, "HEAD", 4, &err), TAMIS_OK);
    assert_int_equal(tamis_output_write_zeros(out, 2 << 20, &err), TAMIS_OK);
    assert_int_equal(tamis_output_write(out, "tail", 4, &err), TAMIS_OK);
    assert_int_equal(tamis_output_rewrite(out, 1, "ea", 2, &err), TAMIS_OK);
    assert_int_equal(tamis_output_rewrite(out, (2 << 20) + 7, "xx", 2, &err), TAMIS_NO_RESOURCE);
    assert_int_equal(tamis_output_size(out), (2 << 20) + 8);
    assert_string_equal(tamis_output_path(out), path);
    assert_file(path, "old");
    assert_int_equal(n_temporaries(), 1);
    assert_int_equal(tamis_output_commit(out, &err), TAMIS_OK);
    assert_int_equal(n_temporaries(), 0);
    size_t n = 0;
    char *text = slurp(path, &n);
    assert_int_equal(n, (2 << 20) + 8);
    assert_memory_equal(text, "HeaD\0", 5);
    assert_string_equal(text + n - 4, "tail");
    free(text);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_true(st.st_blocks * 512 < (3 << 20)); /* what was reserved and not used is given back */
}

static void discard_leaves_the_old_file(void **state) {
    (void)state;
    const char *path = in_temp("old");
    put_file(path, "old");
    tamis_output *out = NULL;
    assert_int_equal(tamis_output_open(path, &out, &err), TAMIS_OK);
    assert_int_equal(tamis_output_write(out, "new", 3, &err), TAMIS_OK);
    tamis_output_discard(out);
    tamis_output_discard(NULL);
    assert_file(path, "old");
    assert_int_equal(n_temporaries(), 0);
}

static void a_link_keeps_being_one(void **state) {
    (void)state;
    const char *path = in_temp("real"), *link = in_temp("link");
    put_file(path, "old");
    assert_int_equal(symlink("real", link), 0);
    assert_int_equal(tamis_write_file(link, "new", 3, &err), TAMIS_OK);
    assert_file(path, "new");
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void a_killed_writer_leaves_the_old_file(void **state) {
    (void)state;
    const char *path = in_temp("victim");
    put_file(path, "old");
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        static char block[3 << 20];
        tamis_output *out = NULL;
        if (tamis_output_open(path, &out, &err) ||
            tamis_output_write(out, block, sizeof block, &err))
            _exit(1);
        if (write(ready[1], "x", 1) != 1) _exit(1);
        for (;;)
            pause();
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    /* a living writer's temporary is left alone */
    assert_int_equal(tamis_write_file(path, "old", 3, &err), TAMIS_OK);
    assert_int_equal(n_temporaries(), 1);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]), close(ready[1]);
    assert_file(path, "old");
    assert_int_equal(n_temporaries(), 1);
    /* names that only look alike stay */
    put_file(in_temp(".victim.tamis-1x-0.tmp"), "");
    put_file(in_temp(".victim2.tamis-999999999-0.tmp"), "");
    tamis_output *out = NULL;
    assert_int_equal(tamis_output_open(path, &out, &err), TAMIS_OK);
    assert_int_equal(n_temporaries(), 3); /* the two and its own */
    assert_int_equal(tamis_output_commit(out, &err), TAMIS_OK);
    assert_file(path, "");
    assert_int_equal(unlink(in_temp(".victim.tamis-1x-0.tmp")), 0);
    assert_int_equal(unlink(in_temp(".victim2.tamis-999999999-0.tmp")), 0);
}

static void outputs_that_cannot_be(void **state) {
    (void)state;
    tamis_output *out = NULL;
    assert_int_equal(tamis_output_open(temp_dir(), &out, &err), TAMIS_NO_RESOURCE);
    assert_non_null(strstr(err.message, "is a directory"));
    assert_int_equal(tamis_output_open(in_temp("no/such/file"), &out, &err), TAMIS_NO_RESOURCE);
    assert_non_null(strstr(err.message, "no such file or directory"));
    assert_int_equal(tamis_output_open("", &out, &err), TAMIS_NO_RESOURCE);
    assert_null(out);
    assert_int_equal(tamis_write_file("/dev/null", "x", 1, &err), TAMIS_OK);
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(tamis_write_file("/dev/full", "x", 1, &err), TAMIS_NO_RESOURCE);
        assert_string_equal(err.message, "'/dev/full': no space left on device; 1 bytes were still "
                                         "to write; free some space or choose another disk");
    }
    uint64_t n_free = 0;
    assert_int_equal(tamis_disk_free_bytes(in_temp("new"), &n_free, &err), TAMIS_OK);
    assert_true(n_free > 0);
    assert_int_equal(tamis_output_open(in_temp("large"), &out, &err), TAMIS_OK);
    assert_int_equal(tamis_output_reserve(out, UINT64_C(1) << 62, &err), TAMIS_NO_RESOURCE);
    tamis_output_discard(out);
}

/* What a child that writes `n_bytes` to `path` ends with: its status is the exit code. */
static int write_in_child(const char *path, size_t n_bytes, rlim_t size_limit, const char *log) {
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {.rlim_cur = size_limit, .rlim_max = size_limit};
        char *data = calloc(n_bytes, 1);
        tamis_interrupt_install();
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (!data || dup2(fd, STDOUT_FILENO) < 0 || setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(99);
        memset(data, 'x', n_bytes);
        _exit((int)tamis_write_file(path, data, n_bytes, &err));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_write_that_fails_leaves_the_old_file(void **state) {
    (void)state;
    const char *path = in_temp("limited"), *log = in_temp("log");
    put_file(path, "old");
    assert_int_equal(write_in_child(path, 3 << 20, 1 << 20, log), TAMIS_NO_RESOURCE);
    assert_file(path, "old");
    assert_int_equal(n_temporaries(), 0);
}

static void standard_output_is_written_through(void **state) {
    (void)state;
    const char *log = in_temp("redirected");
    put_file(log, "before ");
    assert_int_equal(write_in_child("/dev/stdout", 3, RLIM_INFINITY, log), TAMIS_OK);
    assert_file(log, "before xxx");
}

/* Bytes of an input end up where they belong between others, also across buffers. */
static void copies(void **state) {
    (void)state;
    enum { N = 3 << 20 };
    char *want = malloc(N + 1);
    assert_non_null(want);
    for (int i = 0; i < N; i++)
        want[i] = (char)('a' + i % 23);
    want[N] = 0;
    put_file(in_temp("copy-source"), want);
    for (int mode = 0; mode < 2; mode++) {
        tamis_input *in = NULL;
        tamis_output *out = NULL;
        assert_int_equal(tamis_input_open(in_temp("copy-source"),
                                          mode ? TAMIS_INPUT_MAP : TAMIS_INPUT_READ, &in, &err),
                         TAMIS_OK);
        assert_int_equal(tamis_output_open(in_temp("copy"), &out, &err), TAMIS_OK);
        assert_int_equal(tamis_output_write(out, want, 7, &err), TAMIS_OK);
        assert_int_equal(tamis_output_copy(out, in, 7, 0, &err), TAMIS_OK);
        assert_int_equal(tamis_output_copy(out, in, 7, 5, &err), TAMIS_OK);
        assert_int_equal(tamis_output_copy(out, in, 12, N - 20, &err), TAMIS_OK);
        assert_int_equal(tamis_output_size(out), N - 8);
        assert_int_equal(tamis_output_write(out, want + N - 8, 8, &err), TAMIS_OK);
        assert_int_equal(tamis_output_commit(out, &err), TAMIS_OK);
        assert_file(in_temp("copy"), want);
        assert_int_equal(tamis_output_open(in_temp("copy"), &out, &err), TAMIS_OK);
        assert_int_equal(tamis_output_copy(out, in, N - 3, 4, &err), TAMIS_BAD_INPUT);
        tamis_output_discard(out);
        tamis_input_close(in);
    }
    free(want);
}

/* The parts of a set appear together; one that cannot takes the others with it. */
static void sets(void **state) {
    (void)state;
    static const char *const names[] = {"set-1", "set-2", "set-3"};
    tamis_output *outputs[3];
    for (int round = 0; round < 2; round++) {
        put_file(in_temp("set-1"), "old");
        for (int i = 0; i < 3; i++) {
            assert_int_equal(tamis_output_open(in_temp(names[i]), &outputs[i], &err), TAMIS_OK);
            assert_int_equal(tamis_output_write(outputs[i], names[i], 5, &err), TAMIS_OK);
            if (i) assert_int_equal(tamis_output_seal(outputs[i], &err), TAMIS_OK);
        }
        assert_file(in_temp("set-1"), "old");
        assert_int_equal(n_temporaries(), 3);
        if (round) assert_int_equal(mkdir(in_temp("set-2"), 0777), 0);
        assert_int_equal(tamis_output_commit_set(outputs, 3, &err),
                         round ? TAMIS_NO_RESOURCE : TAMIS_OK);
        assert_int_equal(n_temporaries(), 0);
        for (int i = 0; i < 3; i++) {
            if (round)
                assert_int_equal(remove(in_temp(names[i])), i == 1 ? 0 : -1);
            else
                assert_file(in_temp(names[i]), names[i]);
            if (!round) unlink(in_temp(names[i]));
        }
    }
}

static void patches(void **state) {
    (void)state;
    const char *path = in_temp("patched");
    put_file(path, "0123456789");
    assert_int_equal(tamis_patch_file(path, 3, "345", "abc", 3, &err), TAMIS_OK);
    assert_file(path, "012abc6789");
    assert_int_equal(tamis_patch_file(path, 3, "345", "xyz", 3, &err), TAMIS_BAD_INPUT);
    assert_int_equal(tamis_patch_file(path, 9, "90", "xy", 2, &err), TAMIS_BAD_INPUT);
    assert_file(path, "012abc6789");
    assert_int_equal(tamis_patch_file(in_temp("no-such"), 0, "a", "b", 1, &err),
                     TAMIS_NO_RESOURCE);
}

static void long_names(void **state) {
    (void)state;
    char name[256];
    memset(name, 'n', sizeof name);
    name[255] = 0; /* NAME_MAX bytes */
    const char *path = in_temp(name);
    assert_int_equal(tamis_write_file(path, "a", 1, &err), TAMIS_OK);
    assert_int_equal(tamis_write_file(path, "b", 1, &err), TAMIS_OK);
    assert_file(path, "b");
}

static void inputs(void **state) {
    (void)state;
    const char *path = in_temp("input");
    put_file(path, "0123456789");
    for (int mode = TAMIS_INPUT_READ; mode <= TAMIS_INPUT_MAP; mode++) {
        tamis_input *in = NULL;
        char text[11] = "";
        assert_int_equal(tamis_input_open(path, (tamis_input_mode)mode, &in, &err), TAMIS_OK);
        assert_int_equal(tamis_input_size(in), 10);
        assert_true(tamis_is_same_file(tamis_input_path(in), path));
        assert_false(tamis_is_same_file(path, "/dev/null"));
        assert_false(tamis_is_same_file(path, NULL));
        assert_int_equal(tamis_input_read(in, 0, 10, text, &err), TAMIS_OK);
        assert_string_equal(text, "0123456789");
        assert_int_equal(tamis_input_read(in, 10, 0, text, &err), TAMIS_OK);
        assert_int_equal(tamis_input_read(in, 8, 3, text, &err), TAMIS_BAD_INPUT);
        assert_int_equal(tamis_input_read(in, UINT64_MAX, 2, text, &err), TAMIS_BAD_INPUT);
        tamis_input_dont_need(in, 5, UINT64_MAX);
        tamis_input_close(in);
        assert_int_equal(tamis_input_open(temp_dir(), (tamis_input_mode)mode, &in, &err),
                         TAMIS_BAD_INPUT);
        assert_int_equal(tamis_input_open(in_temp("nothing"), (tamis_input_mode)mode, &in, &err),
                         TAMIS_BAD_INPUT);
        assert_non_null(strstr(err.message, "no such file"));
        assert_int_equal(tamis_input_open("/dev/null", (tamis_input_mode)mode, &in, &err),
                         TAMIS_BAD_INPUT);
        assert_null(in);
    }
    tamis_input_close(NULL);
    char *data = NULL;
    size_t n = 0;
    assert_int_equal(tamis_read_file(path, 10, &data, &n, &err), TAMIS_OK);
    assert_int_equal(n, 10);
    assert_string_equal(data, "0123456789");
    free(data);
    assert_int_equal(tamis_read_file(path, 9, &data, &n, &err), TAMIS_BAD_INPUT);
}

static void a_file_that_shrinks(void **state) {
    (void)state;
    const char *path = in_temp("shrinks");
    static char block[65536];
    for (int mode = TAMIS_INPUT_READ; mode <= TAMIS_INPUT_MAP; mode++) {
        assert_int_equal(tamis_write_file(path, block, sizeof block, &err), TAMIS_OK);
        tamis_input *in = NULL;
        assert_int_equal(tamis_input_open(path, (tamis_input_mode)mode, &in, &err), TAMIS_OK);
        assert_int_equal(truncate(path, 8192), 0);
        for (int i = 0; i < 2; i++) { /* the guard works more than once */
            assert_int_equal(tamis_input_read(in, 4096, 61440, block, &err), TAMIS_BAD_INPUT);
            assert_non_null(
                strstr(err.message, "ends at byte 8192, 61440 bytes at 4096 were wanted"));
        }
        assert_int_equal(tamis_input_read(in, 0, 8192, block, &err), TAMIS_OK);
        assert_int_equal(truncate(path, 5000), 0); /* in the middle of a page */
        assert_int_equal(tamis_input_read(in, 4096, 4096, block, &err), TAMIS_BAD_INPUT);
        assert_non_null(strstr(err.message, "ends at byte 5000, 4096 bytes at 4096 were wanted"));
        assert_int_equal(tamis_input_read(in, 4096, 904, block, &err), TAMIS_OK);
        tamis_input_close(in);
    }
}

static void on_foreign(int number) {
    (void)number;
    _exit(42);
}

/* A fault that is none of ours goes to the handler that was installed before. */
static void foreign_faults_are_passed_on(void **state) {
    (void)state;
    const char *path = in_temp("foreign");
    put_file(path, "x");
    pid_t child = fork();
    if (child == 0) {
        tamis_input *in = NULL;
        signal(SIGBUS, on_foreign);
        if (tamis_input_open(path, TAMIS_INPUT_MAP, &in, &err)) _exit(1);
        raise(SIGBUS);
        _exit(2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void hashes(void **state) {
    (void)state;
    char hex[TAMIS_HASH_HEX_MAX];
    assert_int_equal(tamis_hash_bytes(TAMIS_HASH_SHA256, "abc", 3, hex, &err), TAMIS_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(tamis_hash_bytes(TAMIS_HASH_SHA256, "", 0, hex, &err), TAMIS_OK);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(tamis_hash_bytes(TAMIS_HASH_XXH3_128, "", 0, hex, &err), TAMIS_OK);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    /* in pieces and from a file: the same */
    char whole[TAMIS_HASH_HEX_MAX];
    const char *path = in_temp("hashed");
    size_t n = (2 << 20) + 12345;
    char *data = malloc(n);
    assert_non_null(data);
    for (size_t i = 0; i < n; i++)
        data[i] = (char)(i * i >> 3);
    assert_int_equal(tamis_write_file(path, data, n, &err), TAMIS_OK);
    for (int kind = TAMIS_HASH_XXH3_128; kind <= TAMIS_HASH_SHA256; kind++) {
        assert_int_equal(tamis_hash_bytes((tamis_hash_kind)kind, data, n, whole, &err), TAMIS_OK);
        assert_int_equal(tamis_hash_file((tamis_hash_kind)kind, path, hex, &err), TAMIS_OK);
        assert_string_equal(hex, whole);
        tamis_hash *h = NULL;
        assert_int_equal(tamis_hash_new((tamis_hash_kind)kind, &h, &err), TAMIS_OK);
        for (size_t i = 0; i < n; i += 1000)
            tamis_hash_update(h, data + i, n - i < 1000 ? n - i : 1000);
        assert_string_equal(tamis_hash_hex(h, hex), whole);
        tamis_hash_free(h);
    }
    free(data);
    tamis_hash_free(NULL);
    assert_int_equal(tamis_hash_file(TAMIS_HASH_SHA256, in_temp("none"), hex, &err),
                     TAMIS_BAD_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_replaces_and_keeps_permissions),
        cmocka_unit_test(discard_leaves_the_old_file),
        cmocka_unit_test(a_link_keeps_being_one),
        cmocka_unit_test(a_killed_writer_leaves_the_old_file),
        cmocka_unit_test(outputs_that_cannot_be),
        cmocka_unit_test(a_write_that_fails_leaves_the_old_file),
        cmocka_unit_test(standard_output_is_written_through),
        cmocka_unit_test(copies),
        cmocka_unit_test(sets),
        cmocka_unit_test(patches),
        cmocka_unit_test(long_names),
        cmocka_unit_test(inputs),
        cmocka_unit_test(a_file_that_shrinks),
        cmocka_unit_test(foreign_faults_are_passed_on),
        cmocka_unit_test(hashes),
    };
    return cmocka_run_group_tests_name("base/files", tests, NULL, NULL);
}
