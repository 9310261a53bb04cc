/* SPDX-License-Identifier: MIT
 *
 * machine: see machine.h. */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_retry.h"
#include "json.h"
#include "metrics.h"
#include "run_dir.h"
#include "support/log_file.h"
#include "support/wait_policy.h"

static const struct text_member {
    const char *name;
    size_t offset;
} texts[] = {{"device", offsetof(struct machine, device)},
             {"isa", offsetof(struct machine, isa)},
             {"library", offsetof(struct machine, library)}};
enum { TEXTS = sizeof texts / sizeof texts[0], TEXT_SIZE = sizeof((struct machine *)0)->isa };

void machine_here(struct machine *m, const moco_device_info *info)
{
    *m = (struct machine){.threads = info->threads, .version = moco_version()};
    snprintf(m->device, sizeof m->device, "%s", info->name);
    snprintf(m->isa, sizeof m->isa, "%s", info->isa);
    snprintf(m->library, sizeof m->library, "%s", info->library);
}

void machine_json(const struct machine *m, char *text, size_t size)
{
    char device[160], isa[160], library[160], wait[160];
    json_quote(m->device, device, sizeof device);
    json_quote(m->isa, isa, sizeof isa);
    json_quote(m->library, library, sizeof library);
    json_quote(wait_policy_text(), wait, sizeof wait);
    snprintf(text, size, "\"device\":%s,\"isa\":%s,\"library\":%s,\"threads\":%lld,\"wait\":%s,\"version\":%lld",
             device, isa, library, (long long)m->threads, wait, (long long)m->version);
}

/* ---- what a log says ---- */

struct search {
    struct machine *machine;
    int64_t step;
    int known;
};

static void take(struct machine *m, const struct json_token *key, const struct json_token *value)
{
    for (int i = 0; i < TEXTS; i++) {
        char *to = (char *)m + texts[i].offset;
        if (json_equals(key, texts[i].name) && value->kind == JSON_STRING && value->length < TEXT_SIZE)
            to[json_decode(value, to)] = 0;
    }
    if (json_equals(key, "threads") && value->kind == JSON_INT)
        m->threads = value->integer;
    if (json_equals(key, "version") && value->kind == JSON_INT)
        m->version = value->integer;
}

/* A line that is not JSON, or names no machine, changes nothing. */
static void read_line(struct search *s, const char *line)
{
    struct json json;
    struct json_token key, value;
    struct machine found = {.threads = -1, .version = -1};
    json_start(&json, line, strlen(line), 0);
    if (json_next(&json, &value, NULL) != MOCO_OK || value.kind != JSON_OBJECT)
        return;
    while (json_next(&json, &key, NULL) == MOCO_OK && key.kind == JSON_KEY) {
        if (json_next(&json, &value, NULL) != MOCO_OK)
            return;
        take(&found, &key, &value);
        if (json_skip(&json, &value, NULL) != MOCO_OK)
            return;
    }
    if (key.kind != JSON_OBJECT_END || found.threads < 0 || found.version < 0 || found.device[0] == 0)
        return;
    *s->machine = found;
    s->known = 1;
}

static int look(void *user, const char *line)
{
    struct search *s = user;
    const char *step = strstr(line, "\"step\":");
    int config = strncmp(line, "{\"type\":\"config\"", 16) == 0;
    if (!config && step != NULL && strtoll(step + 7, NULL, 10) > s->step)
        return 0; /* cut off when the run goes on */
    if (config || strncmp(line, "{\"type\":\"resume\"", 16) == 0)
        read_line(s, line);
    return 1;
}

moco_status machine_of_run(struct machine *machine, const char *folder, int64_t step, int *known, struct err *err)
{
    char path[RUN_PATH_SIZE];
    struct search s = {.machine = machine, .step = step};
    int64_t end;
    *known = 0;
    run_dir_path(folder, "metrics.jsonl", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? MOCO_OK
                               : err_set(err, MOCO_EIO, "%.300s cannot be opened: %s", path,
                                         file_reason(errno, (char[FILE_REASON]){0}));
    moco_status status = log_file_lines(fd, path, look, &s, &end, err);
    close(fd);
    *known = s.known;
    return status;
}

/* ---- comparing ---- */

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static void
add(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(text);
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

static const char *word(const char *text)
{
    return text[0] != 0 ? text : "none";
}

/* 1, with a sentence for a person. */
static int differs(const struct machine *there, const struct machine *here, char *sentence, size_t size)
{
    char what[400] = "";
    for (int i = 0; i < TEXTS; i++) {
        const char *was = (const char *)there + texts[i].offset, *is = (const char *)here + texts[i].offset;
        if (strcmp(was, is) != 0)
            add(what, sizeof what, "%s%s %s (was %s)", what[0] != 0 ? ", " : "", texts[i].name, word(is), word(was));
    }
    if (there->threads != here->threads)
        add(what, sizeof what, "%s%lld compute threads (were %lld)", what[0] != 0 ? ", " : "", (long long)here->threads,
            (long long)there->threads);
    if (there->version != here->version)
        add(what, sizeof what, "%slibmoco %lld (was %lld)", what[0] != 0 ? ", " : "", (long long)here->version,
            (long long)there->version);
    if (what[0] == 0)
        return 0;
    snprintf(sentence, size, "the run goes on with %s: its numbers may differ from an unbroken run's in the last bits",
             what);
    if (there->threads != here->threads)
        add(sentence, size, "; --threads %lld goes on with as many as before", (long long)there->threads);
    return 1;
}

moco_status machine_compare(const char *folder, int64_t step, const moco_device_info *info,
                            void (*warn)(const char *sentence), struct err *err)
{
    struct machine there, here;
    char sentence[700];
    int known;
    machine_here(&here, info);
    TRY(machine_of_run(&there, folder, step, &known, err));
    if (known && differs(&there, &here, sentence, sizeof sentence))
        warn(sentence);
    return MOCO_OK;
}
