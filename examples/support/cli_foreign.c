/* SPDX-License-Identifier: MIT
 *
 * cli_foreign: options of the reference's programs that have no meaning in libmoco. A command line copied from there
 * gets one sentence that names all of them, so that it has to be changed only once. */
#include <stdio.h>
#include <string.h>

#include "cli_options.h"
#include "program_name.h"

#define ONE_PROCESS                                                                                                    \
    "libmoco trains on the machine's processors, in one process or in those that mpirun or srun has started "          \
    "(docs/ranks.md): leave out %s"
#define RESUME_COUNTS "a resumed run knows its epoch: leave out %s"
#define PROBE_IS_APART                                                                                                 \
    "train_imagenet starts from random weights and judges features by its kNN monitor; linear_probe takes an encoder " \
    "and evaluates: leave out %s"

const struct cli_foreign cli_reference_moco[] = {
    {"multiprocessing-distributed", 0, ONE_PROCESS},
    {"world-size", 0, ONE_PROCESS},
    {"rank", 0, ONE_PROCESS},
    {"local-rank", 0, ONE_PROCESS},
    {"local_rank", 0, ONE_PROCESS},
    {"dist-url", 0, ONE_PROCESS},
    {"dist-backend", 0, ONE_PROCESS},
    {"gpu", 0, ONE_PROCESS},
    {"start-epoch", 0, RESUME_COUNTS},
    {"pretrained", 0, PROBE_IS_APART},
    {"evaluate", 'e', PROBE_IS_APART},
    {NULL, 0, NULL},
};
const struct cli_foreign cli_reference_lincls[] = {
    {"multiprocessing-distributed", 0, ONE_PROCESS},
    {"world-size", 0, ONE_PROCESS},
    {"rank", 0, ONE_PROCESS},
    {"local-rank", 0, ONE_PROCESS},
    {"local_rank", 0, ONE_PROCESS},
    {"dist-url", 0, ONE_PROCESS},
    {"dist-backend", 0, ONE_PROCESS},
    {"gpu", 0, ONE_PROCESS},
    {"start-epoch", 0, RESUME_COUNTS},
    {NULL, 0, NULL},
};

/* The foreign option that an argument names, wholly or by a beginning that fits no option of the program's own. */
static const struct cli_foreign *named(const struct cli *cli, const char *argument)
{
    if (argument[0] != '-' || argument[1] == 0 || strcmp(argument, "--") == 0)
        return NULL;
    int whole = argument[1] == '-';
    size_t length = strcspn(argument + 2, "=");
    for (const struct cli_foreign *f = cli->foreign; f != NULL && f->name != NULL; f++)
        if (whole ? length > 0 && strncmp(f->name, argument + 2, length) == 0
                  : f->letter != 0 && f->letter == argument[1])
            return f;
    return NULL;
}

int cli_foreign(const struct cli *cli, int argc, char **argv, const char *argument, struct err *err)
{
    const struct cli_foreign *first = named(cli, argument);
    char all[256] = "", sentence[512];
    size_t used = 0;
    if (first == NULL)
        return 0;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const struct cli_foreign *f = named(cli, argv[i]);
        size_t length = strcspn(argv[i], "=");
        if (f == NULL || strcmp(f->answer, first->answer) != 0 || used + length + 3 > sizeof all)
            continue;
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%.*s", used > 0 ? ", " : "", (int)length, argv[i]);
    }
    snprintf(sentence, sizeof sentence, "%.*s%s", (int)(strlen(first->answer) - 2), first->answer, all);
    program_words(sentence);
    err_set(err, MOCO_EINVAL, "%s", sentence);
    return 1;
}
