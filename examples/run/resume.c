/* SPDX-License-Identifier: MIT
 *
 * resume: see resume.h. */
#include "resume.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file/file_retry.h"
#include "support/from_moco.h"
#include "support/log_file.h"

static void pass_over(const struct resume *r, const struct err *reason)
{
    char sentence[800];
    snprintf(sentence, sizeof sentence, "passing over a damaged checkpoint: %s", reason->text);
    r->warn(sentence);
}

/* Is `status` the checkpoint's own fault, so that an older one may do? A file that cannot be read may be whole: its
 * steps are not given up for a disk or a network that is away for a moment. */
static int damaged(moco_status status)
{
    return status == MOCO_EFORMAT || status == MOCO_ESHAPE;
}

/* The failure of a candidate that ends the search. */
static moco_status give_up(const struct resume *r, moco_status status, const struct err *reason, struct err *err)
{
    if (status == MOCO_EIO && r->folder != NULL)
        return err_set(err, status, "%.370s; try again when it can be read, or %s", reason->text,
                       r->at + 1 < r->count ? "move it away to go on from the one before it"
                                            : "start anew in another --out");
    return err_set(err, status, "%s", reason->text);
}

static moco_status read_candidate(struct resume *r, struct run_note *note, struct err *err)
{
    struct run_note read = {.config = r->check.mine};
    TRY(checkpoint_read_note(r->check.context, r->path, &read, err));
    TRY(resume_check_note(&r->check, r->path, &read, err));
    *note = read;
    return MOCO_OK;
}

/* Moves on to the first candidate, from `at` on, whose note is good. */
static moco_status seek(struct resume *r, struct run_note *note, struct err *err)
{
    for (; r->at < r->count; r->at++) {
        struct err reason = {0};
        run_dir_checkpoint_path(r->folder, r->numbers[r->at], r->path);
        moco_status status = read_candidate(r, note, &reason);
        if (status == MOCO_OK)
            return MOCO_OK;
        if (!damaged(status))
            return give_up(r, status, &reason, err);
        pass_over(r, &reason);
    }
    return err_set(err, MOCO_EFORMAT, "none of the %d checkpoints in %.300s is valid; start anew in another --out",
                   r->count, r->folder);
}

static void folder_of(const char *path, char *folder, size_t size)
{
    const char *slash = strrchr(path, '/');
    int length = slash == NULL ? 0 : slash == path ? 1 : (int)(slash - path);
    snprintf(folder, size, "%.*s", length > 0 ? length : 1, length > 0 ? path : ".");
}

moco_status resume_open(struct resume *r, const struct resume_check *check, void (*warn)(const char *sentence),
                        struct run_note *note, int *found, struct err *err)
{
    *r = (struct resume){.check = *check, .warn = warn};
    const char *what = r->check.mine.resume, *folder = r->check.mine.out;
    *found = 0;
    if (what[0] == 0)
        return MOCO_OK;
    if (strcmp(what, "auto") != 0) {
        snprintf(r->path, sizeof r->path, "%s", what);
        folder_of(what, r->from, sizeof r->from);
        *found = 1;
        return read_candidate(r, note, err);
    }
    struct stat stat_of;
    if (stat(folder, &stat_of) != 0) {
        if (errno == ENOENT)
            return MOCO_OK;
        return err_set(err, MOCO_EIO, "the run folder %.300s cannot be looked at: %s; try again when it can be", folder,
                       file_reason(errno, (char[FILE_REASON]){0}));
    }
    if (!r->check.mine.dry_run) { /* its checkpoints come and go */
        run_dir_path(folder, "metrics.jsonl", r->path);
        TRY(log_file_unused(r->path, err));
        r->path[0] = 0;
    }
    r->folder = folder;
    snprintf(r->from, sizeof r->from, "%s", folder);
    TRY(run_dir_checkpoints(folder, &r->numbers, &r->count, err));
    *found = r->count > 0;
    return *found ? seek(r, note, err) : MOCO_OK;
}

static moco_status load(struct resume *r, moco_trainer *trainer, struct run_note *note, struct err *err)
{
    TRY(from_moco(moco_trainer_load(trainer, r->path), err));
    return resume_check_state(&r->check, r->path, trainer, note, err);
}

moco_status resume_load(struct resume *r, moco_trainer *trainer, struct run_note *note, struct err *err)
{
    for (;;) {
        struct err reason = {0};
        moco_status status = load(r, trainer, note, &reason);
        if (status == MOCO_OK)
            return MOCO_OK;
        if (r->folder == NULL || !damaged(status))
            return give_up(r, status, &reason, err);
        pass_over(r, &reason);
        r->at++;
        TRY(seek(r, note, err));
    }
}

int resume_from_elsewhere(const struct resume *r)
{
    return r->path[0] != 0 && !run_dir_same(r->from, r->check.mine.out);
}

moco_status resume_check_out(const struct resume *r, int64_t epoch, struct err *err)
{
    const char *out = r->check.mine.out;
    int64_t *numbers, newest = -1;
    int count;
    if (r->folder != NULL)
        return MOCO_OK;
    if (resume_from_elsewhere(r))
        return run_dir_unused(out, 1, err);
    moco_status status = run_dir_checkpoints(out, &numbers, &count, err);
    if (status == MOCO_OK && count > 0)
        newest = numbers[0];
    free(numbers);
    TRY(status);
    if (newest > epoch)
        return err_set(err, MOCO_ESTATE,
                       "%.200s holds later checkpoints than %.200s; go on from that one in another --out, or move the "
                       "later ones away",
                       out, r->path);
    return MOCO_OK;
}

void resume_close(struct resume *r)
{
    free(r->numbers);
    r->numbers = NULL;
}
