/* SPDX-License-Identifier: MIT
 *
 * test_cpu_quota: what control groups allow, read from drawn trees of /proc and /sys/fs/cgroup. What a reader would get
 * wrong: the trees are those of real systems (a service, a container with and without a namespace, version 1 beside
 * version 2), not of the simplest case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cpu_quota.h"
#include "ctx.h"
#include "support/scratch_folder.h"

#define V2 "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1 "40 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define OTHERS                                                                                                         \
    "22 1 0:21 / /proc rw - proc proc rw\n"                                                                            \
    "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,cpu\n"                                                      \
    "39 31 0:36 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"

struct file {
    const char *path, *text;
};

struct tree {
    const char *what;
    int quota;
    const char *group, *mounts;
    struct file files[6];
};

static const struct tree trees[] = {
    {"no group at all", 0, NULL, NULL, {{NULL, NULL}}},
    {"nothing mounted", 0, "0::/a\n", OTHERS, {{"/sys/fs/cgroup/a/cpu.max", "100000 100000\n"}}},
    {"the root of a container with a namespace",
     2,
     "0::/\n",
     OTHERS V2,
     {{"/sys/fs/cgroup/cpu.max", "150000 100000\n"}}},
    {"a service with a quota of its own",
     3,
     "0::/system.slice/train.service\n",
     OTHERS V2,
     {{"/sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"},
      {"/sys/fs/cgroup/system.slice/train.service/cpu.max", "300000 100000\n"}}},
    {"its slice allows less",
     1,
     "0::/system.slice/train.service\n",
     OTHERS V2,
     {{"/sys/fs/cgroup/system.slice/cpu.max", "50000 100000\n"},
      {"/sys/fs/cgroup/system.slice/train.service/cpu.max", "300000 100000\n"}}},
    {"the middle of five levels allows least, two have no file",
     4,
     "0::/a/b/c/d/e\n",
     OTHERS V2,
     {{"/sys/fs/cgroup/a/cpu.max", "900000 100000\n"},
      {"/sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n"},
      {"/sys/fs/cgroup/a/b/c/d/e/cpu.max", "800000 100000\n"}}},
    {"a neighbour's quota",
     0,
     "0::/a/b\n",
     OTHERS V2,
     {{"/sys/fs/cgroup/a/bb/cpu.max", "100000 100000\n"}, {"/sys/fs/cgroup/c/cpu.max", "100000 100000\n"}}},
    {"none", 0, "0::/a\n", OTHERS V2, {{"/sys/fs/cgroup/a/cpu.max", "max 100000\n"}}},
    {"a file of nonsense", 0, "0::/a\n", OTHERS V2, {{"/sys/fs/cgroup/a/cpu.max", "0 0\n"}}},
    {"an empty file, and one of one number",
     0,
     "0::/a/b\n",
     OTHERS V2,
     {{"/sys/fs/cgroup/a/b/cpu.max", ""}, {"/sys/fs/cgroup/a/cpu.max", "100000\n"}}},
    {"a hierarchy mounted elsewhere",
     5,
     "0::/a\n",
     "31 23 0:28 / /run/my\\040groups rw - cgroup2 none rw\n",
     {{"/run/my groups/a/cpu.max", "500000 100000\n"}}},
    {"a container that shares its host's names",
     2,
     "0::/docker/0123/worker\n",
     "31 23 0:28 /docker/0123 /sys/fs/cgroup ro - cgroup2 cgroup ro\n",
     {{"/sys/fs/cgroup/cpu.max", "200000 100000\n"}, {"/sys/fs/cgroup/worker/cpu.max", "700000 100000\n"}}},
    {"a process outside of what is mounted",
     2,
     "0::/other\n",
     "31 23 0:28 /docker/0123 /sys/fs/cgroup ro - cgroup2 cgroup ro\n",
     {{"/sys/fs/cgroup/cpu.max", "200000 100000\n"}, {"/sys/fs/cgroup/other/cpu.max", "100000 100000\n"}}},
    {"a group of a longer name than what is mounted",
     2,
     "0::/docker/01234\n",
     "31 23 0:28 /docker/0123 /sys/fs/cgroup ro - cgroup2 cgroup ro\n",
     {{"/sys/fs/cgroup/cpu.max", "200000 100000\n"}, {"/sys/fs/cgroup4/cpu.max", "100000 100000\n"}}},
    {"a process above its namespace",
     2,
     "0::/../../other\n",
     OTHERS V2,
     {{"/sys/fs/cgroup/cpu.max", "200000 100000\n"}, {"/sys/cpu.max", "100000 100000\n"}}},
    {"version 1",
     2,
     "5:cpuset:/x\n4:cpuacct,cpu:/slurm/job\n1:name=systemd:/y\n",
     OTHERS V1,
     {{"/sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_quota_us", "-1\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_period_us", "100000\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us", "40000\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_period_us", "20000\n"}}},
    {"version 1 without a quota",
     0,
     "4:cpu,cpuacct:/\n",
     OTHERS V1,
     {{"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}}},
    {"both versions, the second has no cpu",
     3,
     "4:cpu,cpuacct:/a\n0::/b\n",
     OTHERS V1 "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
     {{"/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "300000\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"},
      {"/sys/fs/cgroup/unified/b/cpu.stat", "usage_usec 1\n"}}},
    {"more than any machine has",
     4096,
     "0::/\n",
     OTHERS V2,
     {{"/sys/fs/cgroup/cpu.max", "9223372036854775807 1000\n"}}},
    {"a last line without its newline",
     2,
     "0::/a",
     "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
     {{"/sys/fs/cgroup/a/cpu.max", "200000 100000"}}},
};

static void put(const struct scratch_folder *root, const char *path, const char *text)
{
    scratch_write(root, path + 1, text, strlen(text));
}

static void the_least_of_all_groups_above(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        const struct tree *t = &trees[i];
        struct scratch_folder folder;
        scratch_folder_make(&folder);
        if (t->group != NULL)
            put(&folder, "/proc/self/cgroup", t->group);
        if (t->mounts != NULL)
            put(&folder, "/proc/self/mountinfo", t->mounts);
        for (int f = 0; f < 6 && t->files[f].path != NULL; f++)
            put(&folder, t->files[f].path, t->files[f].text);
        int quota = cpu_quota(folder.path);
        if (quota != t->quota)
            fail_msg("%s: %d and not %d", t->what, quota, t->quota);
        scratch_folder_remove(&folder);
    }
}

/* Lines longer than any path, and a group whose file's path does not fit: passed over. */
static void long_lines_are_passed_over(void **state)
{
    (void)state;
    struct scratch_folder folder;
    scratch_folder_make(&folder);
    size_t size = 100000;
    char *text = malloc(size + 200);
    assert_non_null(text);
    memset(text, 'x', size);
    strcpy(text + size, "\n" V2);
    put(&folder, "/proc/self/mountinfo", text);
    memcpy(text, "3:cpu:/", 7);
    strcpy(text + size, "\n0::/a\n");
    put(&folder, "/proc/self/cgroup", text);
    put(&folder, "/sys/fs/cgroup/a/cpu.max", "100000 100000\n");
    assert_int_equal(cpu_quota(folder.path), 1);
    memset(text, 'y', 1020);
    memcpy(text, "0::/", 4);
    strcpy(text + 1020, "\n");
    put(&folder, "/proc/self/cgroup", text);
    assert_int_equal(cpu_quota(folder.path), 0);
    free(text);
    scratch_folder_remove(&folder);
}

static void this_process_has_a_thread_at_least(void **state)
{
    (void)state;
    int quota = cpu_quota(""), threads = ctx_default_threads();
    assert_in_range(quota, 0, 4096);
    assert_true(threads >= 1 && (quota == 0 || threads <= quota));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_of_all_groups_above),
        cmocka_unit_test(long_lines_are_passed_over),
        cmocka_unit_test(this_process_has_a_thread_at_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
