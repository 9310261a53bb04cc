/* SPDX-License-Identifier: MIT
 *
 * cpp_rig: what the two tests of moco.hpp share: checks that count, pictures, and the options of a small network. */
#ifndef MOCO_TESTS_CPP_RIG_HPP
#define MOCO_TESTS_CPP_RIG_HPP

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "moco/moco.hpp"

extern "C" {
#include "support/draw_image.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"
}

inline int checks, wrong;

inline bool check_at(bool right, const char *what, int line)
{
    checks++;
    if (!right) {
        wrong++;
        std::printf("line %d: not so: %s\n", line, what);
    }
    return right;
}
#define CHECK(what) check_at(static_cast<bool>(what), #what, __LINE__)

inline int all_checks(int least)
{
    if (checks < least) {
        std::printf("only %d checks ran\n", checks);
        return 1;
    }
    std::printf("%d checks, %d wrong\n", checks, wrong);
    return wrong > 0;
}

struct scratch : scratch_folder {
    scratch()
    {
        scratch_folder_make(this);
    }
    ~scratch()
    {
        scratch_folder_remove(this);
    }
    scratch(const scratch &) = delete;
    std::string operator()(const char *name) const
    {
        return std::string(path) + "/" + name;
    }
};

enum { SIDE = 16, PICTURES = 24, CLASSES = 3, BATCH = 8 };

inline moco::array<uint8_t> drawn(int64_t id, int side = SIDE)
{
    moco::array<uint8_t> pixels({side, side, 3});
    draw_pixels(pixels.data(), side, side, static_cast<int>(id));
    return pixels;
}

inline std::string jpeg(int64_t id)
{
    moco::array<uint8_t> pixels = drawn(id, SIDE + 4);
    jpeg_kind kind = {};
    kind.components = 3;
    bytes file = draw_jpeg(pixels.data(), SIDE + 4, SIDE + 4, kind);
    std::string out(reinterpret_cast<const char *>(file.at), file.size);
    std::free(file.at);
    return out;
}

inline moco::model_options small_network()
{
    moco::model_options network;
    network.arch = "resnet18";
    network.stem = "small";
    network.width = 0.125;
    network.dim = 8;
    network.image_size = SIDE;
    return network;
}

inline moco::trainer_options small_training()
{
    moco::trainer_options training;
    training.batch_size = BATCH;
    training.bn_group_size = BATCH / 2;
    training.groups_per_launch = 1;
    training.image_h = training.image_w = SIDE;
    return training;
}

/* Loads all of `set` as two views of SIDE. */
inline moco::loader_options small_loading(const moco_augment_options *query, const moco_augment_options *key)
{
    moco::loader_options loading;
    loading.batch_size = BATCH;
    loading.workers = 2;
    loading.drop_last = 1;
    loading.recipe[0] = query;
    loading.recipe[1] = key;
    return loading;
}

#endif
