/* main.c - the gguf tool: a table of its sub-commands, each in a file of gguf/commands/. */
#include "base/threads.h"
#include "gguf/commands/commands.h"

static const tamis_sub_command *const sub_commands[] = {
    &gguf_show_command,
    &gguf_check_command,
    &gguf_hash_command,
    &gguf_diff_command,
    &gguf_split_command,
    &gguf_merge_command,
    &gguf_set_command,
    &gguf_unset_command,
    &gguf_template_command,
};

static const tamis_example examples[] = {
    {"gguf show model.gguf", "print what a file holds"},
    {"gguf check model.gguf", "check structure and every value"},
    {"gguf split --max-size 20G model.gguf model", "spread a model over several files"},
    {"gguf merge model-00001-of-00003.gguf model.gguf", "and make one file of them again"},
    {"gguf show --help", "the options of a sub-command"},
};

static const tamis_tool tool = {
    .name = "gguf",
    .summary = "look into model files; check, split, merge and edit them",
    .subs = sub_commands,
    .n_subs = N_OF(sub_commands),
    .examples = examples,
    .n_examples = N_OF(examples),
};

int main(int argc, char **argv) {
    tamis_interrupt_install();
    tamis_formats_init();
    return tamis_tool_main(&tool, argc, argv);
}
