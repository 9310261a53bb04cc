/* SPDX-License-Identifier: MIT
 *
 * replay_driver: a fuzz target without a fuzzer: runs it on files and on all files of folders, each also cut short and
 * with bytes changed by a fixed rule, so that a corpus guards in every build what a fuzzer found once. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static long runs;

/* A copy that ends where the input ends, so that a sanitizer sees a byte too many. */
static void run(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        exit(1);
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

/* The middle of a stretch of zeros, of which an archive has thousands: changing one of them says what its neighbours
 * say. */
static int is_padding(const uint8_t *bytes, size_t size, size_t at)
{
    enum { NEAR = 6 };
    static const uint8_t zeros[2 * NEAR + 1];
    return at >= NEAR && at + NEAR < size && memcmp(bytes + at - NEAR, zeros, sizeof zeros) == 0;
}

static int run_file(const char *path)
{
    static const uint8_t masks[] = {0x01, 0x20, 0x80, 0xff};
    static uint8_t bytes[1 << 16];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    run(bytes, size);
    for (size_t at = 0; at < size; at++) {
        if (is_padding(bytes, size, at))
            continue;
        run(bytes, at);
        for (size_t i = 0; i < sizeof masks; i++) {
            bytes[at] ^= masks[i];
            run(bytes, size);
            bytes[at] ^= masks[i];
        }
    }
    return 1;
}

static int run_path(const char *path)
{
    DIR *folder = opendir(path);
    char name[4096];
    int files = 0;
    if (folder == NULL)
        return run_file(path);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        files += entry->d_name[0] != '.' && run_file(name);
    }
    closedir(folder);
    return files;
}

int main(int count, char **paths)
{
    int files = 0;
    for (int i = 1; i < count; i++)
        files += run_path(paths[i]);
    printf("%d files, %ld inputs\n", files, runs);
    return files > 0 ? 0 : 1;
}
