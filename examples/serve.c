/* SPDX-License-Identifier: MIT
 *
 * serve: vectors of pictures as a service. Requests come on standard input and answers go to standard output, a line
 * each; N threads share one encoder. What a reader would get wrong: a thread takes a request, embeds it and takes the
 * next one, so that an answer may be ready before an earlier one. It then waits in its place of the ring until its
 * turn comes, and a slow picture holds back at most a ring of others (--ids: none). */
#include <moco/moco.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/program_name.h"
#include "support/program_start.h"

static const char help[] =
    "Usage: serve ENCODER [--threads N] [--bytes] [--ids] [--what features|projection]\n"
    "\n"
    "Reads requests from standard input and answers each with a line on standard output: \"ok\" and the numbers of "
    "the\n"
    "picture's vector, or \"error\", a status of libmoco (-5) and a sentence. Requests are answered in their order.\n"
    "ENCODER is a file that moco train or moco_model_save wrote.\n"
    "\n"
    "  --threads N     threads that decode and compute (default 2), at most 256\n"
    "  --bytes         a request is a line with a number, and as many bytes of a JPEG, PNG or WebP file; without this\n"
    "                  option it is a line with the path of such a file\n"
    "  --ids           the line of a request begins with a word and a space; the answer begins with that word, and\n"
    "                  answers come as soon as they are ready\n"
    "  --what NAME     features (default), or projection: what the head of the network makes of them\n"
    "  --max-bytes N   larger requests are refused (default 67108864)\n"
    "  --max-pixels N  larger pictures are refused (default 67108864)\n"
    "\n"
    "A line that is only \"?\" prints to standard error how many requests were answered and how long they took, as "
    "does\n"
    "the end. The end of the input, SIGTERM and SIGINT end the service: all requests that were read are answered "
    "first.\n"
    "A second signal ends it at once.\n"
    "\n"
    "Exit status: 0; 1 if it could not start, its output was lost or --bytes lost its place; 2 for a wrong command "
    "line.\n";

enum { THREADS_MAX = 256, LINE_SIZE = 1 << 16, ID_SIZE = 64, WHY_SIZE = 600, STEPS = 2400 };

struct options {
    const char *encoder;
    long long threads, max_bytes, max_pixels;
    int bytes, ids;
    moco_embedding what;
};

enum state { FREE, READY, RUNNING, DONE };

struct request {
    enum state state;
    char id[ID_SIZE];
    char *body; /* a path or bytes; owned */
    size_t size;
    double since; /* seconds: when it had been read */
    moco_status status;
    char why[WHY_SIZE];
    float *vector; /* [dim] */
    char *answer;  /* room for a whole line */
};

struct service {
    const struct options *options;
    moco_encoder *encoder;
    moco_augment_options recipe;
    int64_t dim;
    pthread_mutex_t lock;
    pthread_cond_t work, room;
    struct request *ring;
    int slots;
    long long read, taken, written; /* requests so far; number i is in ring[i % slots] */
    int closed;                     /* no request will follow */
    int printing;                   /* a thread is writing answers */
    int lost;                       /* errno of a write that failed */
    long long answered, errors, latency[STEPS];
    double begun, longest;
};

static int wake[2]; /* a pipe: a signal came, or the output is lost */

static void on_signal(int number)
{
    int kept = errno;
    (void)number;
    if (write(wake[1], "s", 1) != 1) /* full: it will be read anyway */
        errno = 0;
    errno = kept;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void complain(const char *sentence)
{
    fprintf(stderr, "%s: %s\n", program_name("serve"), sentence);
}

/* ---- how long requests took ---- */

/* Steps of one percent, from a microsecond on: as much memory after a year as after a minute. */
static void count_latency(struct service *s, double took)
{
    int step = took > 1e-6 ? (int)(log(took / 1e-6) / log(1.01)) : 0;
    s->latency[step < STEPS ? step : STEPS - 1]++;
    s->longest = took > s->longest ? took : s->longest;
}

static double latency_ms(const struct service *s, double fraction)
{
    long long below = 0, wanted = (long long)ceil(fraction * (double)s->answered);
    for (int step = 0; step < STEPS; step++) {
        below += s->latency[step];
        if (below >= wanted)
            return fmin(1e-3 * pow(1.01, step + 1), s->longest * 1e3);
    }
    return s->longest * 1e3;
}

/* With the lock. */
static void tell(const struct service *s)
{
    double time = seconds() - s->begun;
    fprintf(stderr,
            "%s: %lld answers, %lld of them errors, in %.1f s (%.1f a second); latency in ms: median %.2f, 90 %% %.2f, "
            "99 %% %.2f, 99.9 %% %.2f, longest %.2f\n",
            program_name("serve"), s->answered, s->errors, time, (double)s->answered / time, latency_ms(s, 0.5),
            latency_ms(s, 0.9), latency_ms(s, 0.99), latency_ms(s, 0.999), s->longest * 1e3);
}

/* ---- answers ---- */

static void make_answer(const struct service *s, struct request *r)
{
    char *at = r->answer;
    if (s->options->ids)
        at += sprintf(at, "%s ", r->id);
    if (r->status != MOCO_OK) {
        sprintf(at, "error %d %s\n", (int)r->status, r->why);
        return;
    }
    at += sprintf(at, "ok");
    for (int64_t i = 0; i < s->dim; i++)
        at += sprintf(at, " %.9g", (double)r->vector[i]);
    strcpy(at, "\n");
}

static int write_all(const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t n = write(STDOUT_FILENO, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        text += n;
        left -= (size_t)n;
    }
    return 0;
}

static struct request *printable(struct service *s)
{
    for (long long i = s->written; i < s->taken; i++) {
        struct request *r = &s->ring[i % s->slots];
        if (r->state == DONE)
            return r;
        if (!s->options->ids && r->state != FREE)
            return NULL;
    }
    return NULL;
}

/* Writes what may be written; one thread at a time does so, without the lock that it has here. */
static void print_answers(struct service *s)
{
    struct request *r;
    if (s->printing)
        return;
    s->printing = 1;
    while ((r = printable(s)) != NULL) {
        int lost = s->lost;
        pthread_mutex_unlock(&s->lock);
        if (lost == 0 && (lost = write_all(r->answer)) != 0)
            on_signal(0);
        pthread_mutex_lock(&s->lock);
        s->lost = lost;
        count_latency(s, seconds() - r->since);
        s->answered++;
        s->errors += r->status != MOCO_OK;
        r->state = FREE;
        while (s->written < s->taken && s->ring[s->written % s->slots].state == FREE)
            s->written++;
        pthread_cond_broadcast(&s->room);
    }
    s->printing = 0;
}

static int keep_reason(void *user, int64_t number, const char *path, const char *reason)
{
    (void)number;
    (void)path;
    snprintf(((struct request *)user)->why, WHY_SIZE, "%s", reason);
    return 0;
}

static void embed(struct service *s, struct request *r)
{
    moco_encode_options options;
    moco_tensor out;
    moco_encode_options_init(&options);
    options.workers = 0;
    options.max_pixels = s->options->max_pixels;
    options.recipe = &s->recipe;
    options.bad = keep_reason;
    options.user = r;
    moco_tensor_init(&out);
    out.dtype = MOCO_F32;
    out.ndim = 2;
    out.shape[0] = 1;
    out.shape[1] = s->dim;
    out.data = r->vector;
    moco_status status;
    if (s->options->bytes) {
        const void *bytes = r->body;
        status =
            moco_encoder_embed_bytes(s->encoder, &bytes, &r->size, 1, &options, s->options->what, &out, &r->status);
    } else {
        const char *path = r->body;
        status = moco_encoder_embed_files(s->encoder, &path, 1, &options, s->options->what, &out, &r->status);
    }
    if (status != MOCO_OK) {
        r->status = status;
        snprintf(r->why, WHY_SIZE, "%s", moco_error());
    }
}

static void *work(void *user)
{
    struct service *s = user;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->taken == s->read && !s->closed)
            pthread_cond_wait(&s->work, &s->lock);
        if (s->taken == s->read)
            break;
        struct request *r = &s->ring[s->taken++ % s->slots];
        int refused = r->status != MOCO_OK; /* by the reader */
        r->state = RUNNING;
        pthread_mutex_unlock(&s->lock);
        if (!refused)
            embed(s, r);
        free(r->body);
        r->body = NULL;
        make_answer(s, r);
        pthread_mutex_lock(&s->lock);
        r->state = DONE;
        print_answers(s);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- requests ---- */

/* A place for the next request, once there is one. */
static struct request *place(struct service *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    while (s->read - s->written >= s->slots)
        pthread_cond_wait(&s->room, &s->lock);
    pthread_mutex_unlock(&s->lock);
    struct request *r = &s->ring[s->read % s->slots];
    snprintf(r->id, ID_SIZE, "%s", id);
    r->status = MOCO_OK;
    r->why[0] = 0;
    return r;
}

static void hand_over(struct service *s, struct request *r)
{
    pthread_mutex_lock(&s->lock);
    r->since = seconds();
    r->state = READY;
    s->read++;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

static void refuse(struct service *s, const char *id, moco_status status, const char *why)
{
    struct request *r = place(s, id);
    r->status = status;
    snprintf(r->why, WHY_SIZE, "%s", why);
    hand_over(s, r);
}

struct input {
    char buffer[LINE_SIZE + 2]; /* a line, its end, and the 0 that takes its place */
    size_t from, to;
    int ended;   /* 1: of its own; 2: by a signal, or because nobody reads the answers */
    int skipped; /* what is read belongs to a line that was too long */
};

/* Waits for more; 0: there is none. */
static int fill(struct input *in)
{
    memmove(in->buffer, in->buffer + in->from, in->to - in->from);
    in->to -= in->from;
    in->from = 0;
    while (!in->ended) {
        struct pollfd both[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = wake[0], .events = POLLIN}};
        if (poll(both, 2, -1) < 0 && errno == EINTR)
            continue;
        if (both[1].revents != 0) {
            in->ended = 2;
            break;
        }
        ssize_t n = read(STDIN_FILENO, in->buffer + in->to, sizeof in->buffer - 1 - in->to);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            fprintf(stderr, "%s: standard input: %s\n", program_name("serve"), strerror(errno));
        if (n > 0) {
            in->to += (size_t)n;
            return 1;
        }
        in->ended = 1;
    }
    return 0;
}

/* The next line, without its end, which becomes a 0; NULL: there is none. `long_one` 1: the beginning of one that is too
 * long, the rest of which is left out. */
static char *next_line(struct input *in, size_t *size, int *long_one)
{
    for (size_t seen = 0;;) {
        char *begin = in->buffer + in->from, *end = memchr(begin + seen, '\n', in->to - in->from - seen);
        *long_one = in->skipped;
        if (end != NULL) {
            in->from = (size_t)(end + 1 - in->buffer);
            in->skipped = 0;
            *size = (size_t)(end - begin);
            *end = 0;
            return begin;
        }
        seen = in->to - in->from;
        if (seen == sizeof in->buffer - 1) {
            in->skipped = 1;
            in->from = in->to = seen = 0;
        }
        if (fill(in) == 0) {
            int rest = in->ended == 1 && (in->to > in->from || in->skipped);
            *long_one = in->skipped;
            in->skipped = 0;
            *size = in->to - in->from;
            in->buffer[in->to] = 0;
            begin = in->buffer + in->from;
            in->from = in->to;
            return rest ? begin : NULL;
        }
    }
}

/* Moves `size` bytes of the input to `to` (NULL: nowhere); how many there were. */
static size_t next_bytes(struct input *in, char *to, size_t size)
{
    size_t done = 0;
    while (done < size && (in->to > in->from || fill(in))) {
        size_t n = in->to - in->from < size - done ? in->to - in->from : size - done;
        if (to != NULL)
            memcpy(to + done, in->buffer + in->from, n);
        in->from += n;
        done += n;
    }
    return done;
}

/* The bytes that a line announced; 0: the place in the input is lost. */
static int take_bytes(struct service *s, struct input *in, const char *id, const char *number)
{
    char *end, why[128];
    errno = 0;
    unsigned long long size = strtoull(number, &end, 10);
    if (*number < '0' || *number > '9' || *end != 0 || errno != 0) {
        refuse(s, id, MOCO_EINVAL, "not a number of bytes; what follows cannot be read");
        return 0;
    }
    int too_large = size > (unsigned long long)s->options->max_bytes;
    char *body = too_large ? NULL : malloc(size > 0 ? (size_t)size : 1);
    size_t got = next_bytes(in, body, (size_t)size);
    if (got == size && body != NULL) {
        struct request *r = place(s, id);
        r->body = body;
        r->size = got;
        hand_over(s, r);
        return 1;
    }
    free(body);
    if (got < size)
        snprintf(why, sizeof why, "the input ended after %zu of %llu bytes", got, size);
    else
        snprintf(why, sizeof why, too_large ? "%llu bytes, and --max-bytes is %lld" : "no memory for %llu bytes", size,
                 s->options->max_bytes);
    refuse(s, id, got < size ? MOCO_EIO : too_large ? MOCO_EINVAL : MOCO_ENOMEM, why);
    return 1;
}

/* Until the input ends; 0: the place in it was lost. */
static int read_requests(struct service *s, struct input *in)
{
    size_t size;
    int long_one, good = 1;
    char *line, id[ID_SIZE];
    while (good && (line = next_line(in, &size, &long_one)) != NULL) {
        if (!long_one && strcmp(line, "?") == 0) {
            pthread_mutex_lock(&s->lock);
            tell(s);
            pthread_mutex_unlock(&s->lock);
            continue;
        }
        const char *nul = memchr(line, 0, size);
        id[0] = 0;
        if (s->options->ids && !long_one) {
            size_t length = strcspn(line, " ");
            snprintf(id, sizeof id, "%.*s", (int)(length < ID_SIZE ? length : ID_SIZE - 1), line);
            line += length + (line[length] == ' ');
        }
        if (long_one || nul != NULL || *line == 0) {
            refuse(s, s->options->ids && id[0] == 0 ? "-" : id, MOCO_EINVAL,
                   long_one      ? "a line of more than 65536 bytes"
                   : nul != NULL ? "a line with a byte of 0"
                                 : "an empty request");
            good = !s->options->bytes; /* its bytes would be taken for lines */
        } else if (s->options->bytes) {
            good = take_bytes(s, in, id, line);
        } else {
            struct request *r = place(s, id);
            r->body = strdup(line);
            if (r->body == NULL) {
                r->status = MOCO_ENOMEM;
                snprintf(r->why, WHY_SIZE, "no memory for a path");
            }
            hand_over(s, r);
        }
    }
    return good;
}

/* ---- the service ---- */

/* 1: go on; 0: help was asked for; -1: it is wrong, and has been said. */
static int parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        char *end = NULL;
        long long number = strtoll(value, &end, 10);
        int positive = *value != 0 && *end == 0 && number > 0;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return 0;
        if (strcmp(argv[i], "--bytes") == 0)
            o->bytes = 1;
        else if (strcmp(argv[i], "--ids") == 0)
            o->ids = 1;
        else if (strcmp(argv[i], "--threads") == 0 && positive && number <= THREADS_MAX)
            o->threads = number, i++;
        else if (strcmp(argv[i], "--max-bytes") == 0 && positive)
            o->max_bytes = number, i++;
        else if (strcmp(argv[i], "--max-pixels") == 0 && positive)
            o->max_pixels = number, i++;
        else if (strcmp(argv[i], "--what") == 0 && (strcmp(value, "features") == 0 || strcmp(value, "projection") == 0))
            o->what = *value == 'f' ? MOCO_FEATURES : MOCO_PROJECTION, i++;
        else if (argv[i][0] != '-' && o->encoder == NULL)
            o->encoder = argv[i];
        else {
            fprintf(stderr, "%s: %s is no option, or its value is wrong; --help explains them\n", program_name("serve"),
                    argv[i]);
            return -1;
        }
    }
    if (o->encoder != NULL)
        return 1;
    complain("which encoder? Name its file (--help explains it)");
    return -1;
}

/* The encoder, its recipe, and workspaces for all threads, so that the first pictures take no longer than later ones. */
static moco_status open_encoder(struct service *s)
{
    const struct options *o = s->options;
    moco_context *context = NULL;
    moco_device *device = NULL;
    moco_context_options context_options;
    moco_encoder_options encoder_options;
    moco_encoder_info info;
    moco_tensor pictures;
    moco_context_options_init(&context_options);
    moco_encoder_options_init(&encoder_options);
    moco_encoder_info_init(&info);
    moco_tensor_init(&pictures);
    context_options.threads = 1; /* each of our threads computes on its own */
    encoder_options.workspaces = (int32_t)o->threads;
    moco_status status = moco_context_create(&context, &context_options);
    if (status == MOCO_OK)
        status = moco_device_open(&device, context, "cpu");
    if (status == MOCO_OK)
        status = moco_encoder_open(&s->encoder, device, o->encoder, &encoder_options);
    if (status == MOCO_OK)
        status = moco_encoder_describe(s->encoder, &info);
    if (status == MOCO_OK && moco_encoder_recipe(s->encoder, &s->recipe) == MOCO_ENOTFOUND) {
        complain("the encoder's file has no recipe: pictures are prepared as by \"eval\"");
        status = moco_augment_options_preset(&s->recipe, "eval", info.image_size);
    }
    s->dim = o->what == MOCO_FEATURES ? info.feature_dim : info.dim;
    pictures.dtype = MOCO_U8;
    pictures.ndim = 4;
    pictures.shape[0] = 1;
    pictures.shape[1] = pictures.shape[2] = s->recipe.size;
    pictures.shape[3] = 3;
    if (status == MOCO_OK)
        status = moco_encoder_reserve(s->encoder, (int)o->threads, &pictures, o->what);
    if (status != MOCO_OK)
        complain(moco_error());
    moco_device_free(device); /* the encoder holds what it needs */
    moco_context_free(context);
    return status;
}

static int make_ring(struct service *s)
{
    s->slots = 4 * (int)s->options->threads;
    s->ring = calloc((size_t)s->slots, sizeof *s->ring);
    for (int i = 0; s->ring != NULL && i < s->slots; i++) {
        s->ring[i].vector = malloc((size_t)s->dim * sizeof(float));
        s->ring[i].answer = malloc(ID_SIZE + WHY_SIZE + 64 + (size_t)s->dim * 20);
        if (s->ring[i].vector == NULL || s->ring[i].answer == NULL)
            return 0;
    }
    return s->ring != NULL;
}

static void free_ring(struct service *s)
{
    for (int i = 0; s->ring != NULL && i < s->slots; i++) {
        free(s->ring[i].vector);
        free(s->ring[i].answer);
    }
    free(s->ring);
}

static int run(struct service *s)
{
    static struct input in;
    pthread_t thread[THREADS_MAX];
    int threads = 0, whole = 1;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    if (pipe(wake) != 0 || fcntl(wake[1], F_SETFL, O_NONBLOCK) != 0 || sigaction(SIGTERM, &action, NULL) != 0 ||
        sigaction(SIGINT, &action, NULL) != 0) {
        complain(strerror(errno));
        return 1;
    }
    s->begun = seconds();
    while (threads < s->options->threads && pthread_create(&thread[threads], NULL, work, s) == 0)
        threads++;
    if (threads < s->options->threads)
        complain("the system refuses to start that many threads");
    else
        whole = read_requests(s, &in);
    pthread_mutex_lock(&s->lock);
    s->closed = 1;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    tell(s);
    if (s->lost != 0)
        fprintf(stderr, "%s: standard output: %s\n", program_name("serve"), strerror(s->lost));
    return s->lost != 0 || !whole || threads < s->options->threads;
}

int main(int argc, char **argv)
{
    struct options o = {.threads = 2, .max_bytes = 1 << 26, .max_pixels = 1 << 26, .what = MOCO_FEATURES};
    static struct service s = {.lock = PTHREAD_MUTEX_INITIALIZER};
    program_start();
    int parsed = parse(&o, argc, argv);
    if (parsed == 0) {
        program_help(help, stdout);
        return program_printed(program_name("serve"));
    }
    if (parsed < 0)
        return 2;
    s.options = &o;
    pthread_cond_init(&s.work, NULL);
    pthread_cond_init(&s.room, NULL);
    int status = 1;
    if (open_encoder(&s) == MOCO_OK) {
        if (make_ring(&s))
            status = run(&s);
        else
            complain("out of memory");
    }
    free_ring(&s);
    moco_encoder_free(s.encoder);
    return status;
}
