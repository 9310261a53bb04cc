/* SPDX-License-Identifier: MIT
 *
 * ranks: what a training on several ranks costs, as one JSON object a line.
 *
 *   build/bench/ranks [--arch resnet50] [--size 64] [--batch 64] [--group 32] [--steps 9]
 *       two ranks of one thread each, in threads of this process, beside one rank of two threads: a step of each in turn;
 *       ratio is the median of one_ms / ranks_ms
 *   mpirun -np R build/bench/ranks --module build/libmoco_mpi.so [--link lo] ...
 *       R ranks of one thread over MPI. With --link the bytes that the network device of this name sent in a step are
 *       counted, of all ranks; one that several ranks share, as loopback is, counts once. MPI must be told to use it
 *       (Open MPI: --mca btl tcp,self --mca btl_tcp_if_include lo)
 *
 * bytes is what a rank hands to its engine in a step, and model_bytes what docs/scaling.md expects: gradients, BN statistics,
 * keys. wire_model_bytes is what all ranks send then if sums are made in the least number of bytes: 2 (R - 1) of the
 * summed, R - 1 of the gathered. wire_bytes is all that the devices sent; wire_headers of it are headers of packets,
 * wire_again what TCP sent a second time; wire_ratio is what is left over the model. What a reader would get wrong: milliseconds
 * are of a machine that does nothing else. A virtual link delivers packets out of order when two processors feed it, and TCP
 * then sends up to 3 % again; on a busy machine there are more packets for the same bytes. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/support/timing.h"
#include "moco/moco.h"

enum { RANKS_MAX = 2, STEPS_MAX = TIMING_MAX };

struct options {
    const char *arch, *module, *link;
    int size, batch, group, steps;
};

/* One rank, or all of it. */
struct side {
    const struct options *o;
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_comm *comm;
    uint8_t *pixels;
    moco_batch batch;
    pthread_t thread;
};

static void must(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "ranks: %s\n", moco_error());
    exit(1);
}

static void *open_side(void *given)
{
    struct side *s = given;
    const struct options *o = s->o;
    moco_context_options c;
    moco_model_options m;
    moco_trainer_options t;
    moco_comm_info info;
    moco_comm_info_init(&info);
    moco_context_options_init(&c);
    c.threads = s->comm != NULL ? 1 : 2;
    must(moco_context_create(&s->context, &c));
    must(moco_device_open(&s->device, s->context, "cpu"));
    must(moco_model_options_preset(&m, "moco-v2"));
    m.arch = o->arch;
    m.image_size = o->size;
    must(moco_model_create(&s->model, s->device, &m));
    must(moco_queue_create(&s->queue, s->device, m.dim, 4096, 0));
    must(moco_trainer_options_preset(&t, "moco-v2"));
    t.batch_size = o->batch;
    t.bn_group_size = o->group;
    t.groups_per_launch = 1;
    t.image_h = t.image_w = o->size;
    t.precision = MOCO_PRECISION_F32;
    t.comm = s->comm;
    if (s->comm != NULL)
        must(moco_comm_describe(s->comm, &info));
    else
        info.ranks = 1;
    must(moco_trainer_create(&s->trainer, s->model, s->queue, &t));
    size_t bytes = (size_t)(o->batch / info.ranks) * (size_t)o->size * (size_t)o->size * 3;
    s->pixels = malloc(bytes);
    for (size_t i = 0; s->pixels != NULL && i < bytes; i++)
        s->pixels[i] = (uint8_t)((i + (size_t)info.rank) * 2654435761u >> 13);
    moco_batch_init(&s->batch);
    s->batch.n = o->batch / info.ranks;
    s->batch.h = s->batch.w = o->size;
    s->batch.views = 1;
    s->batch.view[0] = s->batch.key[0] = s->pixels;
    s->batch.key_seed = t.seed;
    return NULL;
}

static void *step(void *given)
{
    struct side *s = given;
    must(moco_trainer_cursor(s->trainer, &s->batch.key_step, NULL, NULL));
    s->batch.position = (s->batch.key_step + 1) * s->o->batch;
    must(moco_trainer_step(s->trainer, &s->batch, 1e-4));
    return NULL;
}

static void all(struct side *sides, int count, void *(*what)(void *side))
{
    for (int r = 0; r < count; r++)
        if (pthread_create(&sides[r].thread, NULL, what, &sides[r]) != 0)
            exit(1);
    for (int r = 0; r < count; r++)
        pthread_join(sides[r].thread, NULL);
}

static void close_side(struct side *s)
{
    moco_trainer_free(s->trainer);
    moco_queue_free(s->queue);
    moco_model_free(s->model);
    moco_device_free(s->device);
    moco_context_free(s->context);
    moco_comm_free(s->comm);
    free(s->pixels);
}

/* ---- bytes ---- */

/* Numbers of state tensors whose names hold `word`. */
static double numbers(const struct side *s, const char *word)
{
    const char *name;
    double sum = 0;
    for (int i = 0; (name = moco_trainer_tensor_name(s->trainer, i)) != NULL; i++) {
        moco_tensor tensor;
        double count = 1;
        if (strstr(name, word) == NULL)
            continue;
        moco_tensor_init(&tensor);
        must(moco_trainer_get(s->trainer, name, &tensor)); /* data NULL: its shape */
        for (int d = 0; d < tensor.ndim; d++)
            count *= (double)tensor.shape[d];
        sum += count;
    }
    return sum;
}

struct model {
    double summed, gathered; /* bytes of a rank in a step */
};

static struct model model_of(const struct side *s)
{
    moco_model_info info;
    moco_model_info_init(&info);
    must(moco_model_describe(s->model, &info));
    return (struct model){4 * (numbers(s, "grad.") + numbers(s, "running_mean") + numbers(s, "running_var")),
                          4.0 * s->batch.n * info.dim};
}

/* Of Ethernet, IPv4, and TCP with its time stamps. */
#define HEADER_BYTES (14 + 20 + 32)
#define SEGMENT_BYTES (1500 - 20 - 32)

/* What a network device has sent, and the segments that its network repeated. A rank may have a network of its own. */
struct sent {
    uint64_t network;
    double bytes, packets, repeated;
};

/* The segments of TCP that were sent again in this network: the twelfth number, on the second of two lines. */
static double tcp_repeated(void)
{
    char line[512];
    double repeated = -1;
    FILE *file = fopen("/proc/self/net/snmp", "r");
    while (repeated < 0 && file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Tcp: %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %lf", &repeated) != 1)
            repeated = -1;
    if (repeated < 0) {
        fprintf(stderr, "ranks: nothing counts what TCP sends again\n");
        exit(1);
    }
    fclose(file);
    return repeated;
}

static struct sent sent_on(const char *link)
{
    struct sent sent = {0};
    struct stat network;
    char line[512], name[64];
    int found = 0;
    FILE *file = fopen("/proc/self/net/dev", "r");
    while (!found && file != NULL && fgets(line, sizeof line, file) != NULL)
        found =
            sscanf(line, " %63[^:]: %*s %*s %*s %*s %*s %*s %*s %*s %lf %lf", name, &sent.bytes, &sent.packets) == 3 &&
            strcmp(name, link) == 0;
    if (!found || stat("/proc/self/ns/net", &network) != 0) {
        fprintf(stderr, "ranks: there is no network device %s\n", link);
        exit(1);
    }
    fclose(file);
    sent.network = network.st_ino;
    sent.repeated = tcp_repeated();
    return sent;
}

/* Of all ranks, since `before`. */
static struct sent all_sent(const struct side *s, const moco_comm_info *info, struct sent before)
{
    struct sent *all = calloc((size_t)info->ranks, sizeof *all);
    struct sent sum = {0};
    if (all == NULL)
        exit(1);
    all[info->rank] = sent_on(s->o->link);
    all[info->rank].bytes -= before.bytes;
    all[info->rank].packets -= before.packets;
    all[info->rank].repeated -= before.repeated;
    must(moco_comm_gather(s->comm, all, sizeof *all));
    for (int r = 0; r < info->ranks; r++) {
        int counted = 0;
        for (int other = 0; other < r; other++)
            counted |= all[other].network == all[r].network;
        sum.bytes += counted ? 0 : all[r].bytes;
        sum.packets += counted ? 0 : all[r].packets;
        sum.repeated += counted ? 0 : all[r].repeated;
    }
    free(all);
    return sum;
}

/* ---- the two forms ---- */

static double least(const double *values, int count)
{
    double best = values[0];
    for (int i = 1; i < count; i++)
        best = values[i] < best ? values[i] : best;
    return best;
}

static void print_head(const struct options *o, const moco_comm_info *info)
{
    printf("{\"bench\":\"ranks\",\"arch\":\"%s\",\"size\":%d,\"batch\":%d,\"ranks\":%d,\"engine\":\"%s\"", o->arch,
           o->size, o->batch, info->ranks, info->engine);
}

static moco_comm_info info_of(const struct side *s)
{
    moco_comm_info info;
    moco_comm_info_init(&info);
    must(moco_comm_describe(s->comm, &info));
    return info;
}

static void beside_one(const struct options *o)
{
    struct side one = {.o = o}, ranks[RANKS_MAX] = {{.o = o}, {.o = o}};
    moco_comm *comms[RANKS_MAX];
    double one_ms[STEPS_MAX], ranks_ms[STEPS_MAX], ratio[STEPS_MAX];
    moco_context *context;
    must(moco_context_create(&context, NULL));
    must(moco_comm_local(comms, RANKS_MAX, context, NULL));
    for (int r = 0; r < RANKS_MAX; r++)
        ranks[r].comm = comms[r];
    all(&one, 1, open_side);
    all(ranks, RANKS_MAX, open_side);
    all(&one, 1, step); /* the first step takes what later ones have */
    all(ranks, RANKS_MAX, step);
    moco_comm_info before = info_of(&ranks[0]);
    for (int i = 0; i < o->steps; i++) {
        double begun = now_ms();
        all(&one, 1, step);
        double between = now_ms();
        all(ranks, RANKS_MAX, step);
        one_ms[i] = between - begun;
        ranks_ms[i] = now_ms() - between;
        ratio[i] = one_ms[i] / ranks_ms[i];
    }
    moco_comm_info after = info_of(&ranks[0]);
    struct model model = model_of(&ranks[0]);
    print_head(o, &after);
    printf(
        ",\"one_ms\":%.1f,\"ranks_ms\":%.1f,\"ratio\":%.3f,\"waited_ms\":%.1f,\"bytes\":%.0f,\"model_bytes\":%.0f}\n",
        median(one_ms, o->steps), median(ranks_ms, o->steps), median(ratio, o->steps),
        1e3 * (after.waited_seconds - before.waited_seconds) / o->steps,
        (double)(after.bytes - before.bytes) / o->steps, model.summed + model.gathered);
    close_side(&one);
    for (int r = 0; r < RANKS_MAX; r++)
        close_side(&ranks[r]);
    moco_context_free(context);
}

static void over_mpi(const struct options *o)
{
    struct side side = {.o = o};
    moco_context *context;
    double ms[STEPS_MAX];
    struct sent sent = {0}, sent_before = {0};
    int32_t *meet;
    must(moco_context_create(&context, NULL));
    void *library = dlopen(o->module, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "ranks: %s\n", dlerror());
        exit(1);
    }
    must(moco_comm_from_module(&side.comm, context, dlsym(library, "moco_comm_module_entry"), NULL, NULL));
    open_side(&side);
    step(&side);
    moco_comm_info before = info_of(&side);
    meet = calloc((size_t)before.ranks, sizeof *meet);
    must(moco_comm_gather(side.comm, meet, sizeof *meet));
    before = info_of(&side);
    if (o->link != NULL)
        sent_before = sent_on(o->link);
    for (int i = 0; i < o->steps; i++) {
        double begun = now_ms();
        step(&side);
        ms[i] = now_ms() - begun;
    }
    moco_comm_info after = info_of(&side);
    must(moco_comm_gather(side.comm, meet, sizeof *meet));
    if (o->link != NULL)
        sent = all_sent(&side, &after, sent_before);
    struct model model = model_of(&side);
    double wire = (after.ranks - 1) * (2 * model.summed + after.ranks * model.gathered);
    double sent_bytes = sent.bytes / o->steps, headers = HEADER_BYTES * sent.packets / o->steps;
    double again = SEGMENT_BYTES * sent.repeated / o->steps;
    if (after.rank == 0) {
        print_head(o, &after);
        printf(
            ",\"ms\":%.1f,\"best_ms\":%.1f,\"waited_ms\":%.1f,\"bytes\":%.0f,\"model_bytes\":%.0f,\"bytes_ratio\":%.4f",
            median(ms, o->steps), least(ms, o->steps), 1e3 * (after.waited_seconds - before.waited_seconds) / o->steps,
            (double)(after.bytes - before.bytes) / o->steps, model.summed + model.gathered,
            (double)(after.bytes - before.bytes) / o->steps / (model.summed + model.gathered));
        if (o->link != NULL)
            printf(",\"wire_bytes\":%.0f,\"wire_headers\":%.0f,\"wire_again\":%.0f,\"wire_model_bytes\":%.0f,\"wire_"
                   "ratio\":%.4f",
                   sent_bytes, headers, again, wire, (sent_bytes - headers - again) / wire);
        printf("}\n");
    }
    free(meet);
    close_side(&side);
    moco_context_free(context);
}

int main(int argc, char **argv)
{
    struct options o = {.arch = "resnet50", .size = 64, .batch = 64, .group = 32, .steps = 9};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--arch") == 0)
            o.arch = value;
        else if (strcmp(name, "--module") == 0)
            o.module = value;
        else if (strcmp(name, "--link") == 0)
            o.link = value;
        else if (strcmp(name, "--size") == 0)
            o.size = atoi(value);
        else if (strcmp(name, "--batch") == 0)
            o.batch = atoi(value);
        else if (strcmp(name, "--group") == 0)
            o.group = atoi(value);
        else if (strcmp(name, "--steps") == 0)
            o.steps = atoi(value);
        else
            return fprintf(stderr, "ranks: no option %s\n", name), 2;
    }
    if (argc % 2 == 0 || o.steps < 1 || o.steps > STEPS_MAX)
        return fprintf(stderr, "ranks: options have a value each, and --steps is 1 to %d\n", STEPS_MAX), 2;
    if (o.module != NULL)
        over_mpi(&o);
    else
        beside_one(&o);
    return 0;
}
