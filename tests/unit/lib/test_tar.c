/* SPDX-License-Identifier: MIT
 *
 * test_tar: archives that GNU tar wrote in its formats are listed as it lists them, and every damaged one of
 * ROBUSTNESS' list M5 is refused with its offset; a truncated archive never gives a member that is not all there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/tar.h"
#include "support/scratch_folder.h"

static struct ctx *ctx;
static struct scratch_folder folder;

static int set_up(void **state)
{
    (void)state;
    scratch_folder_make(&folder);
    return ctx_create(&ctx, &(struct ctx_options){.threads = 1}, NULL) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    int leaked = ctx->live_bytes != 0;
    ctx_unref(ctx);
    scratch_folder_remove(&folder);
    return leaked ? -1 : 0;
}

/* Lists an archive: members as "kind name size first-byte" lines; the status that ended it. */
static moco_status list(const char *name, char *text, size_t room, struct err *err)
{
    struct file file;
    struct tar tar;
    struct tar_member *m = malloc(sizeof *m);
    assert_non_null(m);
    moco_status status = file_open(&file, ctx, scratch_path(&folder, name), err);
    text[0] = 0;
    tar_begin(&tar, &file);
    while (status == MOCO_OK && (status = tar_next(&tar, m, err)) == MOCO_OK) {
        char first = '-';
        if (m->size > 0)
            assert_int_equal(file_read_at(&file, m->offset + m->size - 1, &first, 1, err), MOCO_OK);
        size_t used = strlen(text);
        snprintf(text + used, room - used, "%d %s %lld %c\n", (int)m->kind, m->name, (long long)m->size, first);
    }
    file_close(&file);
    free(m);
    return status;
}

static void shell(const char *command)
{
    char text[8192];
    snprintf(text, sizeof text, "cd '%s' && %s", folder.path, command);
    assert_int_equal(system(text), 0);
}

static void what_gnu_tar_writes(void **state)
{
    (void)state;
    char deep[300] = "d/", wanted[2048];
    while (strlen(deep) < 270)
        strcat(deep, "a-rather-long-name-");
    strcat(deep, ".jpg");
    scratch_write(&folder, "d/a.jpg", "xa", 2);
    scratch_write(&folder, "d/b.cls", "7", 1);
    scratch_write(&folder, "d/empty.jpg", "", 0);
    char part[512];
    snprintf(part, sizeof part, "d/long/%s.jpg", deep + 30); /* fits ustar's prefix */
    part[120] = 0;
    strcat(part, "/c.jpg");
    scratch_write(&folder, part, "c", 1);
    snprintf(wanted, sizeof wanted,
             "1 d/ 0 -\n0 d/a.jpg 2 a\n0 d/b.cls 1 7\n0 d/empty.jpg 0 -\n0 %s 1 c\n2 d/link 0 -\n", part);
    shell("ln -s a.jpg d/link");
    const char *const formats[] = {"ustar", "gnu", "pax", "v7"};
    for (size_t f = 0; f < 4; f++) {
        char command[2048];
        int old = strcmp(formats[f], "v7") == 0; /* names of up to 100 bytes only */
        snprintf(command, sizeof command,
                 "tar --format=%s --no-recursion -cf a.tar d d/a.jpg d/b.cls d/empty.jpg %s d/link", formats[f],
                 old ? "" : part);
        shell(command);
        struct err err = {0};
        char text[4096];
        assert_int_equal(list("a.tar", text, sizeof text, &err), MOCO_EEND);
        if (old)
            assert_string_equal(text, "1 d/ 0 -\n0 d/a.jpg 2 a\n0 d/b.cls 1 7\n0 d/empty.jpg 0 -\n2 d/link 0 -\n");
        else
            assert_string_equal(text, wanted);
    }
}

static void names_that_need_headers_of_their_own(void **state)
{
    (void)state;
    char name[260] = {0}, wanted[300], text[2048], command[1024];
    memset(name, 'n', 200);
    strcat(name, ".png");
    scratch_write(&folder, name, "zq", 2);
    snprintf(wanted, sizeof wanted, "0 %s 2 q\n", name);
    for (int pax = 0; pax < 2; pax++) {
        struct err err = {0};
        snprintf(command, sizeof command, "tar --format=%s -cf a.tar %s", pax ? "pax" : "gnu", name);
        shell(command);
        assert_int_equal(list("a.tar", text, sizeof text, &err), MOCO_EEND);
        assert_string_equal(text, wanted);
    }
}

/* ---- archives made here ---- */

struct archive {
    unsigned char bytes[16384];
    size_t size;
};

static void seal(unsigned char *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
}

/* Appends a member; returns its header for the test to spoil (seal it again). */
static unsigned char *add(struct archive *a, char type, const char *name, const void *content, size_t size)
{
    unsigned char *header = a->bytes + a->size;
    memset(header, 0, 512);
    strncpy((char *)header, name, 100);
    char digits[32];
    snprintf(digits, sizeof digits, "%011zo", size);
    memcpy(header + 124, digits, 12);
    header[156] = (unsigned char)type;
    memcpy(header + 257, "ustar\00000", 8);
    seal(header);
    memset(header + 512, 0, (size + 511) / 512 * 512);
    memcpy(header + 512, content, size);
    a->size += 512 + (size + 511) / 512 * 512;
    return header;
}

static moco_status list_bytes(const struct archive *a, char *text, size_t room, struct err *err)
{
    scratch_write(&folder, "made.tar", a->bytes, a->size);
    *err = (struct err){0};
    return list("made.tar", text, room, err);
}

static void expect_refusal(const struct archive *a, const char *where, const char *why)
{
    char text[4096];
    struct err err;
    assert_int_equal(list_bytes(a, text, sizeof text, &err), MOCO_EFORMAT);
    if (strstr(err.text, where) == NULL || strstr(err.text, why) == NULL)
        fail_msg("\"%s\" names neither \"%s\" nor \"%s\"", err.text, where, why);
}

static void damaged_archives(void **state)
{
    (void)state;
    struct archive a = {.size = 0};
    unsigned char *h;

    add(&a, '0', "a.jpg", "x", 1);
    h = add(&a, '0', "b.jpg", "y", 1);
    h[0] ^= 1; /* after sealing */
    expect_refusal(&a, "offset 1024", "checksum");

    const char *const sizes[] = {"77777777777x", "-0000000001", "            ",
                                 "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                                 "\x80\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        a.size = 0;
        h = add(&a, '0', "a.jpg", "x", 1);
        memcpy(h + 124, sizes[i], i == 1 ? 11 : 12);
        seal(h);
        expect_refusal(&a, "offset 0", "size");
    }

    a.size = 0; /* octal and base 256, larger than the archive */
    h = add(&a, '0', "a.jpg", "x", 1);
    memcpy(h + 124, "77777777777", 12);
    seal(h);
    expect_refusal(&a, "offset 0", "longer than the rest");
    memcpy(h + 124, "\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", 12);
    seal(h);
    expect_refusal(&a, "offset 0", "longer than the rest");

    a.size = 0;
    add(&a, 'S', "a.jpg", "x", 1);
    expect_refusal(&a, "offset 0", "sparse");
    a.size = 0;
    add(&a, 'x', "pax", "25 GNU.sparse.major=1.0.\n", 25);
    add(&a, '0', "a.jpg", "x", 1);
    expect_refusal(&a, "offset 0", "sparse");

    const char *const records[] = {"7 path=a\n",
                                   "99 path=a\n",
                                   "path=a\n",
                                   "10 path=ab",
                                   "10 pathxab\n",
                                   "9 size=-\n",
                                   "27 size=99999999999999999999\n",
                                   " 9 path=a\n",
                                   "0 path=a\n",
                                   "99999999999999999999999 path=a\n"};
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        a.size = 0;
        add(&a, 'x', "pax", records[i], strlen(records[i]));
        add(&a, '0', "a.jpg", "x", 1);
        expect_refusal(&a, "offset 0", "pax header");
    }

    a.size = 0;
    add(&a, 'L', "././@LongLink", "name.jpg", 9);
    expect_refusal(&a, "offset 1024", "ends after an extra header");
    a.size = 0;
    char *name = calloc(1, 5000);
    assert_non_null(name);
    memset(name, 'a', 4999);
    add(&a, 'L', "././@LongLink", name, 5000);
    add(&a, '0', "a.jpg", "x", 1);
    expect_refusal(&a, "offset 0", "4095");
    free(name);
    a.size = 0;
    h = add(&a, 'L', "././@LongLink", "n", 1);
    memcpy(h + 124, "77777777777", 12);
    seal(h);
    expect_refusal(&a, "offset 0", "1 MiB");
}

static void headers_override(void **state)
{
    (void)state;
    struct archive a = {.size = 0};
    char text[4096];
    struct err err;
    add(&a, 'g', "global", "13 comment=x\n", 13);
    add(&a, 'x', "pax", "16 path=e/f.jpg\n10 size=2\n", 26);
    unsigned char *h = add(&a, '0', "short", "xy", 2);
    memset(h + 124, '0', 11); /* its own header says 0: the pax size holds */
    seal(h);
    add(&a, '0', "../up.jpg", "z", 1);
    add(&a, '1', "hard", "", 0);
    add(&a, '3', "device", "", 0);
    add(&a, 0, "old-folder/", "", 0);
    add(&a, '?', "from-the-future", "skipped", 7);
    add(&a, '7', "contiguous.png", "c", 1);
    assert_int_equal(list_bytes(&a, text, sizeof text, &err), MOCO_EEND);
    assert_string_equal(text, "0 e/f.jpg 2 y\n0 ../up.jpg 1 z\n2 hard 0 -\n2 device 0 -\n1 old-folder/ 0 -\n"
                              "2 from-the-future 7 d\n0 contiguous.png 1 c\n");
}

static void truncation_at_every_byte(void **state)
{
    (void)state;
    struct archive a = {.size = 0};
    char content[700], text[4096];
    struct err err;
    memset(content, 'x', sizeof content);
    add(&a, '0', "a.jpg", content, sizeof content);
    add(&a, 'x', "pax", "14 path=b.jpg\n", 14);
    add(&a, '0', "b", "y", 1);
    size_t whole = a.size;
    for (a.size = 1; a.size < whole; a.size++) {
        moco_status status = list_bytes(&a, text, sizeof text, &err);
        int first = strstr(text, "a.jpg 700 x") != NULL, second = strstr(text, "b.jpg 1 y") != NULL;
        assert_int_equal(first, a.size >= 512 + 700);
        assert_int_equal(second, a.size >= 1536 + 1024 + 512 + 1);
        /* a cut between members, or in the padding of one, is the end of the file: `unfinished` tells */
        int between = (a.size >= 1212 && a.size <= 1536) || a.size >= 3073;
        assert_int_equal(status, between ? MOCO_EEND : MOCO_EFORMAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_gnu_tar_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_that_need_headers_of_their_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_archives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(headers_override, set_up, tear_down),
        cmocka_unit_test_setup_teardown(truncation_at_every_byte, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
