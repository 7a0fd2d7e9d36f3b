/* test_base_options.c - command lines: every way to write an option, and every mistake. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "support.h"

static struct values {
    bool flag, other;
    int64_t n, layer;
    uint64_t size;
    double share;
    const char *output, *how, *folder;
    tamis_texts inputs, rules;
    tamis_common common;
} v;

static const tamis_option options[] = {
    {0, NULL, TAMIS_OPTION_GROUP, NULL, NULL, "Main", 0, 0},
    {'o', "output,output-file", TAMIS_OPTION_TEXT, &v.output, "FILE", "where the result goes", 0,
     0},
    {'m', "model", TAMIS_OPTION_TEXTS, &v.inputs, "FILE", "a model; may be given again", 0, 0},
    {'c', "context", TAMIS_OPTION_INT, &v.n, "N", "tokens per chunk", 2, 1000},
    {0, "layer", TAMIS_OPTION_INT, &v.layer, "N", "any layer", 0, 0},
    {'S', "scratch-size", TAMIS_OPTION_SIZE, &v.size, "SIZE", "scratch", 0, 0},
    {0, "share", TAMIS_OPTION_DOUBLE, &v.share, "X", "a share", 0, 0},
    {'f', "flag", TAMIS_OPTION_FLAG, &v.flag, NULL, "a flag", 0, 0},
    {'g', "other-flag", TAMIS_OPTION_FLAG, &v.other, NULL, "another flag", 0, 0},
    {0, "how", TAMIS_OPTION_TEXT, &v.how, "fast|well", "it's [one] of: two", 0, 0},
    {0, "into", TAMIS_OPTION_TEXT, &v.folder, "DIR", "a folder", 0, 0},
    {0, "rule", TAMIS_OPTION_TEXTS, &v.rules, "NAME=T", "a type for a name", 0, 0},
    TAMIS_COMMON_OPTIONS(&v.common),
};

static const tamis_example examples[] = {
    {"tool -m a.gguf -o b.gguf", "the simplest use"},
};

static const char *const type_names[] = {"q1", "q2"};
static const char *const out_names[] = {"left", "right"};
static const tamis_words words[] = {{"T", type_names, 2}, {"OUT", out_names, 2}};

static const tamis_command command = {
    .name = "tool part",
    .summary = "shows that it works",
    .usage = "[options] IN OUT\n--list",
    .description =
        "First paragraph with a word.\nStill the first.\n\n  a table    1\n  .b table   2\n\n"
        "'Quoted start of a \\ last one.",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .examples = examples,
    .n_examples = 1,
    .words = words,
    .n_words = 2,
};

static tamis_texts rest;
static tamis_error err;

static int reset(void **state) {
    (void)state;
    tamis_texts_release(&v.inputs);
    tamis_texts_release(&v.rules);
    tamis_texts_release(&rest);
    memset(&v, 0, sizeof v);
    memset(&err, 0, sizeof err);
    return 0;
}

#define PARSE(...) parse((char *[]){(char *)"tool", __VA_ARGS__, NULL})

static tamis_status parse(char **argv) {
    int argc = 0;
    while (argv[argc])
        argc++;
    return tamis_options_parse(&command, argc, argv, &rest, &err);
}

#define A(text) ((char *)(uintptr_t)(text))

static void every_form_is_read(void **state) {
    (void)state;
    assert_int_equal(PARSE(A("-o"), A("x"), A("--model=a"), A("-mb"), A("-m"), A("c"),
                           A("--context"), A("12"), A("-S1.5GiB"), A("--share"), A("-0.25"),
                           A("-fq"), A("--layer"), A("-3"), A("in"), A("-"), A("--other_flag"),
                           A("--"), A("-o")),
                     TAMIS_OK);
    assert_string_equal(v.output, "x");
    assert_int_equal(v.inputs.n_items, 3);
    assert_string_equal(v.inputs.items[0], "a");
    assert_string_equal(v.inputs.items[1], "b");
    assert_string_equal(v.inputs.items[2], "c");
    assert_int_equal(v.n, 12);
    assert_int_equal(v.layer, -3);
    assert_true(v.size == 1610612736u);
    assert_true(v.share == -0.25);
    assert_true(v.flag && v.other && v.common.quiet && !v.common.help);
    assert_int_equal(rest.n_items, 3);
    assert_string_equal(rest.items[0], "in");
    assert_string_equal(rest.items[1], "-");
    assert_string_equal(rest.items[2], "-o");
}

static void aliases_are_accepted(void **state) {
    (void)state;
    assert_int_equal(PARSE(A("--output_file"), A("x=y")), TAMIS_OK);
    assert_string_equal(v.output, "x=y");
    assert_int_equal(PARSE(A("--output=")), TAMIS_OK);
    assert_string_equal(v.output, "");
}

static void options_first_leaves_the_rest_alone(void **state) {
    (void)state;
    tamis_command first = command;
    first.options_first = true;
    char *argv[] = {A("tool"), A("-f"), A("show"), A("--unknown"), A("-o")};
    assert_int_equal(tamis_options_parse(&first, 5, argv, &rest, &err), TAMIS_OK);
    assert_int_equal(rest.n_items, 3);
    assert_true(v.flag);
}

static void mistakes_name_the_option(void **state) {
    (void)state;
    static const struct {
        const char *args[3];
        const char *message;
    } cases[] = {
        {{"--ouput"}, "unknown option '--ouput'; did you mean '--output'?"},
        {{"--ouput=x"}, "unknown option '--ouput'; did you mean '--output'?"},
        {{"--otuput-fil"}, "unknown option '--otuput-fil'; did you mean '--output-file'?"},
        {{"--THREADS"}, "unknown option '--THREADS'; did you mean '--threads'?"},
        {{"--other_flg"}, "unknown option '--other_flg'; did you mean '--other-flag'?"},
        {{"-thread"}, "-t: 'hread' is not a whole number"},
        {{"-jsn"}, "unknown option '-jsn'; did you mean '--json'?"},
        {{"--xyzzy"}, "unknown option '--xyzzy'"},
        {{"-Z"}, "unknown option '-Z'"},
        {{"--bad\n\x1b"}, "unknown option '--bad\\n\\x1b'"},
        {{"--output"}, "option '--output' needs a value: --output FILE"},
        {{"-o", "--model", "x"}, "option '-o' needs a value: -o FILE"},
        {{"-m", "-f"}, "option '-m' needs a value: -m FILE"},
        {{"--flag=yes"}, "option '--flag' takes no value"},
        {{"--context", "abc"}, "--context: 'abc' is not a whole number"},
        {{"-c", "1"}, "-c: 1 is out of range; 2 to 1000 are allowed"},
        {{"--mem", "12Q"}, "--mem: '12Q' is not a size such as 500M, 12G or 1.5GiB"},
        {{"--how", "bad"}, "--how: 'bad' is not one of: fast, well"},
        {{"--how=fas"}, "--how: 'fas' is not one of: fast, well"},
        {{"--completion", "csh"}, "--completion: 'csh' is not one of: bash, zsh, fish"},
        {{"--share=0x1p3"}, "--share: '0x1p3' is not a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *argv[5] = {A("tool"), A(cases[i].args[0]), A(cases[i].args[1]), A(cases[i].args[2])};
        assert_int_equal(parse(argv), TAMIS_BAD_USAGE);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(err.code, TAMIS_BAD_USAGE);
    }
}

static char *page(void (*print)(const tamis_command *, FILE *)) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    print(&command, f);
    fclose(f);
    return text;
}

static void help_fits_and_is_complete(void **state) {
    (void)state;
    char *text = page(tamis_options_help);
    static const char *const wanted[] = {
        "tool part - shows that it works\n",
        "usage: tool part [options] IN OUT\n       tool part --list\n",
        "\nMain:\n  -o, --output FILE               where the result goes\n",
        "      --layer N                   any layer\n",
        "First paragraph with a word. Still the first.\n\n  a table    1\n  .b table   2\n",
        "\nExamples:\n  # the simplest use\n  tool -m a.gguf -o b.gguf\n",
        "\n  130  interrupted\n",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (!strstr(text, wanted[i])) fail_msg("not in the help text: %s\n%s", wanted[i], text);
    for (char *line = text; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 100);
    free(text);
}

static void man_page_escapes_what_roff_would_read(void **state) {
    (void)state;
    char *text = page(tamis_options_man);
    static const char *const wanted[] = {
        ".TH TOOL\\-PART 1 ",
        ".SH SYNOPSIS\n.B tool part\n[options] IN OUT\n.br\n.B tool part\n\\-\\-list\n",
        "\\fB\\-o\\fR, \\fB\\-\\-output\\fR, \\fB\\-\\-output\\-file\\fR \\fIFILE\\fR\n",
        ".EX\n  a table    1\n  .b table   2\n.EE\n",
        "\n\\&'Quoted start of a \\e last one.\n",
        ".SH EXIT STATUS\n",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (!strstr(text, wanted[i])) fail_msg("not in the man page: %s\n%s", wanted[i], text);
    free(text);
}

static const char *completion_shell;
static void print_completion(const tamis_command *c, FILE *stream) {
    tamis_options_completion(c, completion_shell, stream);
}

static void completion_knows_every_argument(void **state) {
    (void)state;
    static const struct {
        const char *shell, *wanted[8];
    } cases[] = {
        {"bash",
         {"__tool_part() {\n", "    -o|--output|--output-file) return ;;\n",
          "    -c|--context) compopt +o default 2>/dev/null; return ;;\n",
          "    --how) compopt +o default 2>/dev/null; COMPREPLY=($(compgen -W 'fast well' ",
          "    --into) compopt -o dirnames +o default 2>/dev/null; return ;;\n",
          "[[ $assign ]] && COMPREPLY=($(compgen -P \"$lead\" -W 'q1 q2' ",
          "COMPREPLY+=($(compgen -W 'left right' "}},
        {"zsh",
         {"__tool_part() {\n",
          "'(-o --output --output-file)--output-file=[where the result goes]:FILE:_files' ",
          "'*-m+[a model; may be given again]:FILE:_files' ",
          "'(--how)--how=[it'\\''s \\[one\\] of\\: two]:value:(fast well)' ",
          "'(--into)--into=[a folder]:DIR:_files -/' ", "compadd -- q1 q2 }' ",
          "\"words:OUT:(left right)\""}},
        {"fish",
         {"complete -c tool -n '__tool_is part' -s o -l output -l output-file -r -F -d ",
          " -s c -l context -x -d 'tokens per chunk'\n", " -s f -l flag -d 'a flag'\n",
          " -l how -x -a 'fast well' -d 'it\\'s [one] of: two'\n", "(commandline -ct)){q1,q2}'",
          " -l into -x -a '(__fish_complete_directories)' ", " -a 'left right' -d OUT\n"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        completion_shell = cases[i].shell;
        char *text = page(print_completion);
        for (const char *const *wanted = cases[i].wanted; *wanted; wanted++)
            if (!strstr(text, *wanted))
                fail_msg("not in the %s script: %s\n%s", completion_shell, *wanted, text);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_form_is_read, reset, reset),
        cmocka_unit_test_setup_teardown(aliases_are_accepted, reset, reset),
        cmocka_unit_test_setup_teardown(options_first_leaves_the_rest_alone, reset, reset),
        cmocka_unit_test_setup_teardown(mistakes_name_the_option, reset, reset),
        cmocka_unit_test(help_fits_and_is_complete),
        cmocka_unit_test(man_page_escapes_what_roff_would_read),
        cmocka_unit_test(completion_knows_every_argument),
    };
    return cmocka_run_group_tests_name("base/options", tests, NULL, NULL);
}
