/* SPDX-License-Identifier: MIT
 *
 * test_weights_files: files that PyTorch 1.13 and 2.6 saved (make_weights.py), read where there is no PyTorch: what the
 * listing beside each says of names, shapes, strides and numbers must be what libmoco says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "moco/moco.h"
#include "support/files/weights_listing.h"

static char *listing_of(const char *path)
{
    moco_context *context;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(moco_context_create(&context, NULL), MOCO_OK);
    weights_listing(out, context, path);
    moco_context_free(context);
    fclose(out);
    return text;
}

/* Each line of the file beside it in this order; lines "note ..." are parts of some note. Returns the tensors. */
static int compare(const char *path)
{
    char wanted_path[512], line[4096];
    int tensors = 0;
    char *got = listing_of(path), *at = got;
    snprintf(wanted_path, sizeof wanted_path, "%.*s.txt", (int)(strlen(path) - 4), path);
    FILE *wanted = fopen(wanted_path, "r");
    if (wanted == NULL)
        fail_msg("%s is missing", wanted_path);
    while (fgets(line, sizeof line, wanted) != NULL) {
        if (strncmp(line, "note ", 5) == 0) {
            line[strcspn(line, "\n")] = 0;
            if (strstr(at, line + 5) == NULL)
                fail_msg("%s: no note \"%s\":\n%s", path, line + 5, at);
            continue;
        }
        tensors += strncmp(line, "tensor ", 7) == 0;
        if (strncmp(at, line, strlen(line)) != 0)
            fail_msg("%s: %sinstead of %s", path, at, line);
        at += strlen(line);
    }
    if (*at != 0 && strncmp(at, "note ", 5) != 0)
        fail_msg("%s: more than was saved: %s", path, at);
    fclose(wanted);
    free(got);
    return tensors;
}

static void compare_folder(const char *path, int files_wanted, int tensors_wanted)
{
    DIR *folder = opendir(path);
    int files = 0, tensors = 0;
    if (folder == NULL)
        fail_msg("%s cannot be opened", path);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char file[512];
        size_t size = strlen(entry->d_name);
        if (size < 5 || strcmp(entry->d_name + size - 4, ".pth") != 0)
            continue;
        snprintf(file, sizeof file, "%s/%.200s", path, entry->d_name);
        tensors += compare(file);
        files++;
    }
    closedir(folder);
    assert_int_equal(files, files_wanted);
    assert_true(tensors >= tensors_wanted);
}

static void of_torch_2(void **state)
{
    (void)state;
    compare_folder("tests/golden/fixtures/weights-torch-2", 13, 300);
}

static void of_torch_1_13(void **state)
{
    (void)state;
    compare_folder("tests/golden/fixtures/weights-torch-1.13", 5, 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_torch_2), cmocka_unit_test(of_torch_1_13)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
