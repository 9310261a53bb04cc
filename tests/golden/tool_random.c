/* SPDX-License-Identifier: MIT
 *
 * tool_random: answers the commands of tests/golden/moco_random.py, one a line from standard input, with what the
 * library draws: words in hexadecimal, integers, and numbers to 17 digits. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moco/moco.h"
#include "net/net.h"
#include "permute.h"
#include "philox.h"
#include "share.h"

#define WORDS 16
#define MOST 4096

struct command {
    int count;
    char *word[WORDS];
};

static void refuse(const char *why)
{
    fprintf(stderr, "tool_random: %s\n", why);
    exit(2);
}

static uint64_t number(const struct command *c, int i)
{
    if (i >= c->count)
        refuse("a command has too few words");
    return strtoull(c->word[i], NULL, 10);
}

static int small(const struct command *c, int i)
{
    uint64_t n = number(c, i);
    if (n < 1 || n > MOST)
        refuse("a count is out of range");
    return (int)n;
}

static void check(moco_status status)
{
    if (status != MOCO_OK)
        refuse(moco_error());
}

static void answer_philox(const struct command *c)
{
    uint32_t in[6], out[4];
    for (int i = 0; i < 6; i++) {
        number(c, i + 1);
        in[i] = (uint32_t)strtoul(c->word[i + 1], NULL, 16);
    }
    philox4x32(in, in + 4, out);
    printf("%08x %08x %08x %08x", out[0], out[1], out[2], out[3]);
}

/* VERB seed epoch sample view purpose count [n] */
static void answer_stream(const struct command *c)
{
    struct rng r;
    rng_init(&r, number(c, 1), number(c, 2), number(c, 3), (unsigned)number(c, 4), (enum rng_purpose)number(c, 5));
    for (int i = small(c, 6); i > 0; i--) {
        if (strcmp(c->word[0], "u32") == 0)
            printf("%08" PRIx32 " ", rng_u32(&r));
        else if (strcmp(c->word[0], "u64") == 0)
            printf("%016" PRIx64 " ", rng_u64(&r));
        else if (strcmp(c->word[0], "below") == 0)
            printf("%" PRIu64 " ", rng_below(&r, number(c, 7)));
        else if (strcmp(c->word[0], "uniform") == 0)
            printf("%.17g ", rng_uniform(&r));
        else
            printf("%.17g ", rng_normal(&r));
    }
}

/* shuffle seed step direction n */
static void answer_shuffle(const struct command *c)
{
    static int32_t place[MOST];
    int n = small(c, 4);
    check(moco_shuffle_permutation(number(c, 1), (int64_t)number(c, 2), (int)number(c, 3), n, place));
    for (int i = 0; i < n; i++)
        printf("%d ", (int)place[i]);
}

/* epoch seed epoch n position count */
static void answer_epoch(const struct command *c)
{
    for (int i = 0; i < small(c, 5); i++) {
        int64_t sample;
        check(moco_epoch_permutation(number(c, 1), (int64_t)number(c, 2), (int64_t)number(c, 3),
                                     (int64_t)number(c, 4) + i, &sample));
        printf("%" PRId64 " ", sample);
    }
}

/* share batch interleave rank ranks */
static void answer_share(const struct command *c)
{
    int batch = small(c, 1), interleave = (int)number(c, 2), rank = (int)number(c, 3), ranks = small(c, 4);
    if (rank >= ranks || batch % ranks != 0)
        refuse("a share is of no batch");
    for (int i = 0; i < share_rows(batch, interleave, rank, ranks, batch); i++)
        printf("%d ", share_place(batch, interleave, rank, ranks, i));
}

/* init seed index conv co ci kh kw | init seed index linear out in | init seed index bias out in */
static void answer_init(const struct command *c)
{
    static struct graph_param params[MOST + 1];
    static double values[MOST];
    const struct graph g = {.params = params};
    int index = (int)number(c, 2);
    struct graph_param *p = &params[index];
    if (index < 0 || index > MOST || c->count < 6)
        refuse("a parameter is out of range");
    const char *kind = c->word[3];
    p->kind = strcmp(kind, "conv") == 0 ? PARAM_CONV : strcmp(kind, "bias") == 0 ? PARAM_BIAS : PARAM_LINEAR;
    p->ndim = p->kind == PARAM_BIAS ? 1 : c->count - 4;
    p->count = 1;
    for (int i = 0; i < p->ndim; i++) {
        p->shape[i] = small(c, 4 + i);
        p->count *= p->shape[i];
    }
    if (p->kind == PARAM_BIAS && index > 0)
        p[-1].shape[1] = small(c, 5); /* its layer's weight */
    if (p->count > MOST)
        refuse("a parameter is too large");
    init_param(&g, index, number(c, 1), values);
    for (int64_t i = 0; i < p->count; i++)
        printf("%.17g ", values[i]);
}

/* queue seed row dim: what a queue that ends with this row holds there */
static void answer_queue(const struct command *c)
{
    static double keys[MOST];
    moco_context *context = NULL;
    moco_device *device = NULL;
    moco_queue *queue = NULL;
    int row = (int)number(c, 2), dim = small(c, 3), length = row + 1;
    if (row < 0 || row >= MOST / dim)
        refuse("a queue is too large");
    moco_tensor tensor;
    moco_tensor_init(&tensor);
    tensor.dtype = MOCO_F64;
    tensor.ndim = 2;
    tensor.shape[0] = dim;
    tensor.shape[1] = length;
    tensor.data = keys;
    check(moco_context_create(&context, NULL));
    check(moco_device_open(&device, context, "ref"));
    check(moco_queue_create(&queue, device, dim, length, number(c, 1)));
    check(moco_queue_get(queue, &tensor));
    for (int i = 0; i < dim; i++)
        printf("%.17g ", keys[i * length + row]);
    moco_queue_free(queue);
    moco_device_free(device);
    moco_context_free(context);
}

/* view recipe w h seed epoch sample view */
static void answer_view(const struct command *c)
{
    moco_context *context = NULL;
    moco_augment *augment = NULL;
    moco_augment_options recipe;
    moco_view_params p;
    number(c, 7);
    check(moco_augment_options_preset(&recipe, c->word[1], 32));
    check(moco_context_create(&context, NULL));
    check(moco_augment_create(&augment, context, &recipe));
    moco_view_params_init(&p);
    check(moco_augment_draw(augment, (int)number(c, 2), (int)number(c, 3), number(c, 4), (int64_t)number(c, 5),
                            (int64_t)number(c, 6), (int)number(c, 7), &p));
    printf("%d %d %d %d %d %d %d %d %d %d %d ", p.crop[0], p.crop[1], p.crop[2], p.crop[3], p.jitter, p.order[0],
           p.order[1], p.order[2], p.order[3], p.grey, p.flip);
    printf("%.17g %.17g %.17g %.17g %.17g", p.factor[0], p.factor[1], p.factor[2], p.factor[3], p.sigma);
    moco_augment_free(augment);
    moco_context_free(context);
}

int main(void)
{
    static const struct {
        const char *verb;
        void (*answer)(const struct command *c);
    } verbs[] = {
        {"philox", answer_philox},   {"u32", answer_stream},    {"u64", answer_stream},  {"uniform", answer_stream},
        {"below", answer_stream},    {"normal", answer_stream}, {"epoch", answer_epoch}, {"share", answer_share},
        {"shuffle", answer_shuffle}, {"init", answer_init},     {"queue", answer_queue}, {"view", answer_view},
    };
    char line[1024];
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct command c = {0};
        char *rest = NULL;
        for (char *w = strtok_r(line, " \n", &rest); w != NULL && c.count < WORDS; w = strtok_r(NULL, " \n", &rest))
            c.word[c.count++] = w;
        size_t i = 0, count = sizeof verbs / sizeof *verbs;
        while (c.count > 0 && i < count && strcmp(verbs[i].verb, c.word[0]) != 0)
            i++;
        if (c.count == 0 || i == count)
            refuse("no such command");
        verbs[i].answer(&c);
        putchar('\n');
    }
    return 0;
}
