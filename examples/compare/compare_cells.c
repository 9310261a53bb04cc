/* SPDX-License-Identifier: MIT
 *
 * compare_cells: the paper's comparisons as command lines. Within a table everything except the compared option is
 * equal: data, network, views, steps, optimizer, learning rate. What a reader would get wrong: mechanisms keep the
 * head, the loss and the temperature that they were published with, because these are part of the mechanism. They do
 * not keep their views, because a table of mechanisms would then measure augmentations. */
#include "compare_cells.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *const compare_table_names[TABLES] = {"accuracy", "cost", "temperature", "augmentation", "negatives"};

static const double temperatures[] = {0.07, 0.1, 0.2, 0.3, 0.4, 0.5};
#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

struct mechanism {
    const char *name, *options; /* blank-separated */
    int whole_batch;            /* its negatives are the batch: it has no queue */
    int bn_whole;               /* BN sees all views of the batch at once */
};

/* Said in full, for the preset may be that of another mechanism. */
#define MOCO_PARTS "--negatives queue --encoder-k momentum --loss infonce"

static const struct mechanism mechanisms[] = {
    {"moco-v2", MOCO_PARTS " --head mlp --moco-t 0.2", 0, 0},
    {"moco-v1", MOCO_PARTS " --head linear --moco-t 0.07", 0, 0},
    {"simclr", "--negatives batch --encoder-k shared --loss ntxent --head simclr-v1 --moco-t 0.1", 1, 1},
    {"end-to-end", "--negatives batch --encoder-k shared --loss infonce --head mlp --moco-t 0.2", 1, 0},
};

/* ---- one command line ---- */

static void add_words(struct cell *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(c->text + c->used, CELL_TEXT - c->used, format, arguments);
    va_end(arguments);
    char *at = c->text + c->used;
    if (length < 0 || (size_t)length >= CELL_TEXT - c->used)
        return; /* cells_make looks at `used` */
    c->used += (size_t)length + 1;
    while (*at != 0 && c->words < CELL_WORDS) {
        c->word[c->words++] = at;
        at += strcspn(at, " ");
        if (*at == ' ')
            *at++ = 0;
    }
}

/* A path may hold blanks. */
static void add_path(struct cell *c, const char *path)
{
    size_t length = strlen(path);
    if (length >= CELL_TEXT - c->used || c->words >= CELL_WORDS)
        return;
    c->word[c->words++] = memcpy(c->text + c->used, path, length + 1);
    c->used += length + 1;
}

/* A number as cli_text writes it. */
static const char *real(double value, char text[32])
{
    cli_real_text(value, text, 32);
    return text;
}

/* ---- cells ---- */

struct making {
    struct cells *cells;
    const struct compare_settings *s;
    struct err *err;
    moco_status status;
};

static struct cell *new_cell(struct making *m, enum compare_table table, const char *row, const char *column,
                             int64_t seed, int64_t batch)
{
    if (m->status == MOCO_OK && m->cells->count == CELLS_MAX)
        m->status =
            err_set(m->err, MOCO_EINVAL, "these tables have more than %d runs; take fewer seeds or tables", CELLS_MAX);
    if (m->status != MOCO_OK)
        return NULL;
    const struct compare_settings *s = m->s;
    struct cell *c = &m->cells->cell[m->cells->count++];
    char text[32];
    *c = (struct cell){.table = table, .seed = seed, .batch = batch, .words = 1};
    c->knn = c->linear = c->img_per_s = c->peak_mb = c->counted_mb = c->seconds = -1;
    snprintf(c->row, sizeof c->row, "%s", row);
    snprintf(c->column, sizeof c->column, "%s", column);
    snprintf(c->key, sizeof c->key, "%s-%s%s%s-seed%lld", compare_table_names[table], row, column[0] != 0 ? "-" : "",
             column, (long long)seed);
    add_path(c, s->data);
    add_words(c, "--preset %s --device %s --precision %s --threads %lld --seed %lld --batch-size %lld", s->preset,
              s->device, s->precision, (long long)s->threads, (long long)seed, (long long)batch);
    if (s->workers >= 0)
        add_words(c, "--workers %lld", (long long)s->workers);
    if (s->arch[0] != 0)
        add_words(c, "--arch %s", s->arch);
    if (s->stem[0] != 0)
        add_words(c, "--stem %s", s->stem);
    if (s->recipe[0] != 0)
        add_words(c, "--recipe %s", s->recipe);
    if (s->size > 0)
        add_words(c, "--size %lld", (long long)s->size);
    if (s->width > 0)
        add_words(c, "--width %s", real(s->width, text));
    return c;
}

static void add_queue(struct cell *c, const struct compare_settings *s)
{
    if (s->queue > 0)
        add_words(c, "--moco-k %lld", (long long)s->queue);
}

static void add_mechanism(struct cell *c, const struct compare_settings *s, const struct mechanism *m, int64_t group)
{
    add_words(c, "%s --bn-group-size %lld", m->options, (long long)(m->bn_whole ? 2 * c->batch : group));
    if (!m->whole_batch)
        add_queue(c, s);
}

/* An accuracy run: its epochs, one kNN at the end. The rate follows the batch, as the reference says it should. */
static void add_training(struct cell *c, const struct compare_settings *s)
{
    char text[32];
    add_words(c, "--epochs %lld --knn-every %lld --keep 1 --print-freq 100 --lr %s --lr-schedule cosine-step",
              (long long)s->epochs, (long long)s->epochs, real(s->lr * (double)c->batch / (double)s->batch, text));
}

/* The preset's BN groups, but at least four, for one group over the whole batch gives the positive away. */
static int64_t group_of(const struct making *m, int64_t batch)
{
    int64_t quarter = batch >= 8 ? batch / 4 : batch;
    return m->s->group < quarter && batch % m->s->group == 0 ? m->s->group : batch % 4 == 0 ? quarter : batch;
}

static void accuracy(struct making *m)
{
    for (int64_t seed = 0; seed < m->s->seeds; seed++)
        for (int i = 0; i < COUNT(mechanisms); i++) {
            struct cell *c = new_cell(m, TABLE_ACCURACY, mechanisms[i].name, "", seed, m->s->batch);
            if (c == NULL)
                return;
            add_mechanism(c, m->s, &mechanisms[i], group_of(m, c->batch));
            add_training(c, m->s);
        }
}

static void cost(struct making *m)
{
    for (int b = 0; b < m->s->cost_batches.count; b++)
        for (int i = 0; i < COUNT(mechanisms); i++) {
            int64_t batch = m->s->cost_batches.at[b];
            char column[24];
            snprintf(column, sizeof column, "%lld", (long long)batch);
            struct cell *c = new_cell(m, TABLE_COST, mechanisms[i].name, column, 0, batch);
            if (c == NULL)
                return;
            add_mechanism(c, m->s, &mechanisms[i], m->s->cost_group < batch ? m->s->cost_group : batch);
            add_words(c, "--epochs 1000 --max-steps %lld --knn-every 0 --print-freq 1 --no-report",
                      (long long)m->s->cost_steps);
        }
}

static void temperature(struct making *m)
{
    static const char *const heads[] = {"linear", "mlp"};
    for (int64_t seed = 0; seed < m->s->seeds; seed++)
        for (int h = 0; h < 2; h++)
            for (int t = 0; t < COUNT(temperatures); t++) {
                char text[32];
                real(temperatures[t], text);
                struct cell *c = new_cell(m, TABLE_TEMPERATURE, heads[h], text, seed, m->s->batch);
                if (c == NULL)
                    return;
                add_words(c, MOCO_PARTS " --head %s --moco-t %s --bn-group-size %lld", heads[h], text,
                          (long long)group_of(m, c->batch));
                add_queue(c, m->s);
                add_training(c, m->s);
            }
}

static void augmentation(struct making *m)
{
    static const char *const recipes[] = {"moco-v1", "moco-v2"};
    for (int64_t seed = 0; seed < m->s->seeds; seed++)
        for (int i = 0; i < 2; i++) {
            struct cell *c = new_cell(m, TABLE_AUGMENTATION, recipes[i], "", seed, m->s->batch);
            if (c == NULL)
                return;
            add_mechanism(c, m->s, &mechanisms[0], group_of(m, c->batch));
            add_words(c, "--recipe %s", recipes[i]); /* the last one given counts */
            add_training(c, m->s);
        }
}

/* Equal epochs, so that every picture is seen equally often at every batch size. */
static void negatives(struct making *m)
{
    static const struct mechanism kinds[] = {
        {"queue", MOCO_PARTS " --head mlp --moco-t 0.2", 0, 0},
        {"batch", "--negatives batch --encoder-k momentum --loss infonce --head mlp --moco-t 0.2", 1, 0}};
    for (int64_t seed = 0; seed < m->s->seeds; seed++)
        for (int b = 0; b < m->s->batches.count; b++)
            for (int i = 0; i < 2; i++) {
                int64_t batch = m->s->batches.at[b];
                char column[24];
                snprintf(column, sizeof column, "%lld", (long long)batch);
                struct cell *c = new_cell(m, TABLE_NEGATIVES, kinds[i].name, column, seed, batch);
                if (c == NULL)
                    return;
                add_mechanism(c, m->s, &kinds[i], group_of(m, batch));
                add_training(c, m->s);
            }
}

moco_status cells_make(struct cells *cells, const struct compare_settings *settings, struct err *err)
{
    static void (*const make[TABLES])(struct making *) = {accuracy, cost, temperature, augmentation, negatives};
    struct making m = {cells, settings, err, MOCO_OK};
    *cells = (struct cells){.cell = calloc(CELLS_MAX, sizeof *cells->cell)};
    if (cells->cell == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    for (int t = 0; t < TABLES; t++)
        if (settings->wanted[t])
            make[t](&m);
    for (int i = 0; m.status == MOCO_OK && i < cells->count; i++)
        if (cells->cell[i].words >= CELL_WORDS - 4)
            m.status = err_set(err, MOCO_EINVAL, "the command line of %s is too long", cells->cell[i].key);
    return m.status;
}

void cells_free(struct cells *cells)
{
    free(cells->cell);
    *cells = (struct cells){0};
}
