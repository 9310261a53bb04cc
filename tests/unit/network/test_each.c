/* SPDX-License-Identifier: MIT
 *
 * test_each: what is done with tensor after tensor, two side by side, comes out as if one after another: each once, and
 * the failure of the first one that fails, whichever came earlier in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "algo/each.h"

enum { COUNT = 200 };

struct part {
    void (*body)(void *arg, int part, int parts);
    void *arg;
};

static void *second(void *arg)
{
    struct part *p = arg;
    p->body(p->arg, 1, 2);
    return NULL;
}

/* Two threads at once, and a third part that finds nothing to do. */
static moco_status on_host(struct be_device *dev, void (*body)(void *arg, int part, int parts), void *arg,
                           struct err *err)
{
    struct part p = {body, arg};
    pthread_t thread;
    (void)dev;
    (void)err;
    assert_int_equal(pthread_create(&thread, NULL, second, &p), 0);
    body(arg, 0, 2);
    assert_int_equal(pthread_join(thread, NULL), 0);
    body(arg, 2, 3);
    return MOCO_OK;
}

static const struct backend threads = {.abi = BACKEND_ABI, .name = "test", .on_host = on_host};

struct work {
    _Atomic int done[COUNT], running[EACH_PARTS];
    int bad, slow; /* tensors that fail; the slow one fails later in time */
};

static moco_status one(void *self, int part, int i, struct err *err)
{
    struct work *w = self;
    if (atomic_fetch_add(&w->running[part], 1) != 0)
        return err_set(err, MOCO_ESTATE, "part %d twice at once", part);
    atomic_fetch_add(&w->done[i], 1);
    if (i == w->slow)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    atomic_fetch_sub(&w->running[part], 1);
    return i == w->bad || i == w->slow ? err_set(err, MOCO_EFORMAT, "tensor %d", i) : MOCO_OK;
}

static void all_once(void **state)
{
    (void)state;
    for (int parts = 1; parts <= EACH_PARTS; parts++) {
        struct work w = {.bad = -1, .slow = -1};
        const struct each each = {parts == 1 ? NULL : &threads, NULL, parts, COUNT, &w, one};
        struct err err = {0};
        int done = 0;
        assert_int_equal(each_run(&each, &done, &err), MOCO_OK);
        assert_int_equal(done, COUNT);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(w.done[i], 1);
    }
}

static void first_failure(void **state)
{
    (void)state;
    for (int slow = 0; slow < 12; slow++) {
        struct work w = {.bad = slow + 1, .slow = slow};
        const struct each each = {&threads, NULL, EACH_PARTS, COUNT, &w, one};
        struct err err = {0};
        char words[32];
        int done = -1;
        assert_int_equal(each_run(&each, &done, &err), MOCO_EFORMAT);
        snprintf(words, sizeof words, "tensor %d", slow);
        assert_string_equal(err.text, words);
        assert_int_equal(done, slow);
        for (int i = 0; i <= slow; i++)
            assert_int_equal(w.done[i], 1);
        assert_int_equal(w.done[COUNT - 1], 0); /* what is taken after a failure is left */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_once), cmocka_unit_test(first_failure)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
