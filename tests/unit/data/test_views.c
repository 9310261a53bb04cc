/* SPDX-License-Identifier: MIT
 *
 * test_views: the augmentation as an API of its own: a handle draws and makes exactly the views that a loader delivers,
 * from any number of threads; parameters made by a stranger are checked; pictures are read and refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "moco/moco.h"
#include "support/draw_image.h"
#include "support/failing_alloc.h"
#include "support/scratch_folder.h"

enum { COUNT = 12, W = 50, H = 41, SIZE = 24 };

static uint8_t pictures[COUNT][H][W][3];
static moco_context *context;

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++)
        draw_pixels(&pictures[i][0][0][0], W, H, i);
    return moco_context_create(&context, NULL) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    int64_t live = -1;
    moco_context_memory(context, &live, NULL, NULL);
    moco_context_free(context);
    return live < 512 ? 0 : -1; /* what is left is the context itself */
}

static moco_tensor rgb(void *data, int64_t h, int64_t w)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = MOCO_U8;
    t.ndim = 3;
    t.shape[0] = h;
    t.shape[1] = w;
    t.shape[2] = 3;
    t.data = data;
    return t;
}

static moco_augment *make(const char *recipe_name)
{
    moco_augment_options recipe;
    moco_augment *augment;
    assert_int_equal(moco_augment_options_preset(&recipe, recipe_name, SIZE), MOCO_OK);
    assert_int_equal(moco_augment_create(&augment, context, &recipe), MOCO_OK);
    return augment;
}

static void view_of(moco_augment *augment, int sample, int64_t epoch, int which, uint8_t *view)
{
    moco_view_params params;
    moco_view_params_init(&params);
    moco_tensor image = rgb(pictures[sample], H, W), out = rgb(view, SIZE, SIZE);
    assert_int_equal(moco_augment_draw(augment, W, H, 7, epoch, sample, which, &params), MOCO_OK);
    assert_int_equal(moco_augment_apply(augment, &image, &params, &out), MOCO_OK);
}

static void makes_the_views_of_a_loader(void **state)
{
    (void)state;
    const char *const names[] = {"moco-v1", "moco-v2", "cifar10", "simclr"};
    for (size_t r = 0; r < 4; r++) {
        moco_augment_options recipe;
        assert_int_equal(moco_augment_options_preset(&recipe, names[r], SIZE), MOCO_OK);
        moco_tensor images = rgb(pictures, COUNT, H);
        images.ndim = 4;
        images.shape[2] = W;
        images.shape[3] = 3;
        moco_dataset *ds;
        assert_int_equal(moco_dataset_from_memory(&ds, context, &images, NULL), MOCO_OK);
        moco_loader_options o;
        moco_loader_options_init(&o);
        o.batch_size = COUNT;
        o.seed = 7;
        o.recipe[0] = o.recipe[1] = &recipe;
        moco_loader *loader;
        assert_int_equal(moco_loader_create(&loader, ds, &o), MOCO_OK);
        assert_int_equal(moco_loader_start(loader, 3), MOCO_OK);
        moco_batch batch;
        moco_batch_init(&batch);
        assert_int_equal(moco_loader_next(loader, &batch), MOCO_OK);
        moco_augment *augment = make(names[r]);
        uint8_t view[SIZE * SIZE * 3];
        for (int i = 0; i < COUNT; i++)
            for (int v = 0; v < 2; v++) {
                view_of(augment, (int)batch.ids[i], 3, v, view);
                assert_memory_equal(view, batch.view[v] + (size_t)i * sizeof view, sizeof view);
            }
        moco_augment_free(augment);
        moco_loader_free(loader);
        moco_dataset_free(ds);
    }
}

struct sharing {
    moco_augment *augment;
    const uint8_t *wanted;
    int wrong;
};

static void *share(void *arg)
{
    struct sharing *s = arg;
    uint8_t view[SIZE * SIZE * 3];
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < COUNT; i++) {
            moco_view_params params;
            moco_view_params_init(&params);
            moco_tensor image = rgb(pictures[i], H, W), out = rgb(view, SIZE, SIZE);
            if (moco_augment_draw(s->augment, W, H, 7, 0, i, 0, &params) != MOCO_OK ||
                moco_augment_apply(s->augment, &image, &params, &out) != MOCO_OK ||
                memcmp(view, s->wanted + (size_t)i * sizeof view, sizeof view) != 0)
                s->wrong++;
        }
    return NULL;
}

static void one_handle_for_all_threads(void **state)
{
    (void)state;
    moco_augment *augment = make("moco-v2");
    uint8_t *wanted = malloc((size_t)COUNT * SIZE * SIZE * 3);
    assert_non_null(wanted);
    for (int i = 0; i < COUNT; i++)
        view_of(augment, i, 0, 0, wanted + (size_t)i * SIZE * SIZE * 3);
    pthread_t threads[4];
    struct sharing sharing[4];
    for (int t = 0; t < 4; t++) {
        sharing[t] = (struct sharing){augment, wanted, 0};
        assert_int_equal(pthread_create(&threads[t], NULL, share, &sharing[t]), 0);
    }
    for (int t = 0; t < 4; t++) {
        pthread_join(threads[t], NULL);
        assert_int_equal(sharing[t].wrong, 0);
    }
    free(wanted);
    moco_augment_free(augment);
}

/* What a caller changes shows, and nothing else: the same crop without colours, mirrored. */
static void parameters_are_the_callers_to_change(void **state)
{
    (void)state;
    moco_augment *augment = make("moco-v2");
    moco_view_params p;
    moco_view_params_init(&p);
    p.crop[0] = 5;
    p.crop[1] = 3;
    p.crop[2] = p.crop[3] = p.resize[0] = p.resize[1] = SIZE;
    uint8_t plain[SIZE][SIZE][3], mirrored[SIZE][SIZE][3], grey[SIZE][SIZE][3];
    moco_tensor image = rgb(pictures[1], H, W), a = rgb(plain, SIZE, SIZE), b = rgb(mirrored, SIZE, SIZE),
                c = rgb(grey, SIZE, SIZE);
    assert_int_equal(moco_augment_apply(augment, &image, &p, &a), MOCO_OK);
    p.flip = 1;
    assert_int_equal(moco_augment_apply(augment, &image, &p, &b), MOCO_OK);
    p.flip = 0;
    p.grey = 1;
    assert_int_equal(moco_augment_apply(augment, &image, &p, &c), MOCO_OK);
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) {
            assert_memory_equal(plain[y][x], pictures[1][y + 3][x + 5], 3);
            assert_memory_equal(mirrored[y][x], pictures[1][y + 3][SIZE - 1 - x + 5], 3);
            assert_true(grey[y][x][0] == grey[y][x][1] && grey[y][x][1] == grey[y][x][2]);
        }
    moco_augment_free(augment);
}

static void impossible_parameters_are_refused(void **state)
{
    (void)state;
    moco_augment *augment = make("moco-v2");
    moco_view_params good;
    moco_view_params_init(&good);
    uint8_t view[SIZE * SIZE * 3];
    moco_tensor image = rgb(pictures[0], H, W), out = rgb(view, SIZE, SIZE);
    assert_int_equal(moco_augment_draw(augment, W, H, 1, 0, 0, 0, &good), MOCO_OK);
    for (int i = 0;; i++) {
        moco_view_params p = good;
        const char *word = "crop";
        switch (i) {
        case 0:
            p.crop[0] = -1;
            break;
        case 1:
            p.crop[2] = W + 1;
            break;
        case 2:
            p.crop[3] = 0;
            break;
        case 3:
            p.crop[1] = INT32_MAX;
            break;
        case 4:
            p.resize[0] = 0, word = "resize";
            break;
        case 5:
            p.resize[1] = INT32_MAX, word = "resize";
            break;
        case 6:
            p.offset[0] = 1, word = "offset";
            break;
        case 7:
            p.offset[1] = INT32_MIN, word = "offset";
            break;
        case 8:
            p.order[0] = p.order[1], word = "order";
            break;
        case 9:
            p.order[3] = 4, word = "order";
            break;
        case 10:
            p.factor[0] = NAN, word = "factor[0]";
            break;
        case 11:
            p.factor[2] = -0.1, word = "factor[2]";
            break;
        case 12:
            p.factor[3] = 0.6, word = "hue";
            break;
        case 13:
            p.sigma = INFINITY, word = "sigma";
            break;
        case 14:
            p.struct_size = 12, word = "struct_size";
            break;
        default:
            word = NULL;
        }
        if (word == NULL)
            break;
        assert_int_equal(moco_augment_apply(augment, &image, &p, &out), MOCO_EINVAL);
        assert_non_null(strstr(moco_error(), word));
    }
    moco_tensor small = rgb(view, SIZE, SIZE - 1), flat = rgb(pictures[0], H, W);
    flat.dtype = MOCO_F32;
    assert_int_equal(moco_augment_apply(augment, &image, &good, &small), MOCO_ESHAPE);
    assert_int_equal(moco_augment_apply(augment, &flat, &good, &out), MOCO_ESHAPE);
    assert_int_equal(moco_augment_apply(augment, NULL, &good, &out), MOCO_EINVAL);
    assert_int_equal(moco_augment_apply(augment, &image, NULL, &out), MOCO_EINVAL);
    assert_int_equal(moco_augment_apply(NULL, &image, &good, &out), MOCO_EINVAL);
    assert_int_equal(moco_augment_draw(augment, W, H, 1, 0, 0, 256, &good), MOCO_EINVAL);
    assert_int_equal(moco_augment_draw(augment, 0, H, 1, 0, 0, 0, &good), MOCO_EINVAL);
    moco_augment_free(augment);
    augment = make("none");
    assert_int_equal(moco_augment_draw(augment, W, H, 1, 0, 0, 0, &good), MOCO_ESHAPE);
    moco_augment_free(augment);
    moco_augment_options recipe;
    assert_int_equal(moco_augment_options_preset(&recipe, "moco-v2", SIZE), MOCO_OK);
    recipe.flip_p = 2;
    assert_int_equal(moco_augment_create(&augment, context, &recipe), MOCO_EINVAL);
    assert_null(augment);
    moco_augment_free(NULL);
}

static void pictures_are_read(void **state)
{
    (void)state;
    struct scratch_folder folder;
    scratch_folder_make(&folder);
    struct bytes png = draw_png(&pictures[2][0][0][0], W * 3, W, H, (struct png_kind){.color_type = 2, .depth = 8});
    scratch_write(&folder, "a.png", png.at, png.size);
    scratch_write(&folder, "cut.png", png.at, png.size / 2);
    moco_image *image;
    moco_tensor pixels;
    moco_tensor_init(&pixels);
    assert_int_equal(moco_image_read(&image, context, scratch_path(&folder, "a.png"), 0), MOCO_OK);
    assert_int_equal(moco_image_pixels(image, &pixels), MOCO_OK);
    assert_true(pixels.dtype == MOCO_U8 && pixels.ndim == 3 && pixels.shape[0] == H && pixels.shape[1] == W &&
                pixels.shape[2] == 3);
    assert_memory_equal(pixels.data, pictures[2], sizeof pictures[2]);
    assert_int_equal(moco_image_pixels(image, NULL), MOCO_EINVAL);
    moco_image_free(image);
    assert_int_equal(moco_image_read(&image, context, scratch_path(&folder, "cut.png"), 0), MOCO_EFORMAT);
    assert_null(image);
    assert_non_null(strstr(moco_error(), "cut.png"));
    assert_int_equal(moco_image_read(&image, context, scratch_path(&folder, "a.png"), W * H - 1), MOCO_EFORMAT);
    assert_int_equal(moco_image_read(&image, context, scratch_path(&folder, "none.png"), 0), MOCO_EIO);
    assert_int_equal(moco_image_read(&image, context, NULL, 0), MOCO_EINVAL);
    assert_int_equal(moco_image_read(&image, context, "x", -1), MOCO_EINVAL);
    assert_int_equal(moco_image_read(NULL, context, "x", 0), MOCO_EINVAL);
    assert_int_equal(moco_image_pixels(NULL, &pixels), MOCO_EINVAL);
    free(png.at);
    scratch_folder_remove(&folder);
}

static moco_status decode_with(struct failing_alloc *memory, struct bytes file)
{
    moco_context_options o;
    moco_context_options_init(&o);
    o.alloc = failing_alloc;
    o.release = failing_release;
    o.user = memory;
    moco_context *failing;
    moco_image *image = NULL;
    moco_status status = moco_context_create(&failing, &o);
    if (status != MOCO_OK)
        return status;
    status = moco_image_decode(&image, failing, file.at, file.size, 0);
    moco_image_free(image);
    moco_context_free(failing);
    return status;
}

/* Bytes in memory become the same picture; what is wrong with them is said; failing memory leaves nothing behind. */
static void pictures_are_decoded(void **state)
{
    (void)state;
    struct bytes file[2] = {
        draw_png(&pictures[2][0][0][0], W * 3, W, H, (struct png_kind){.color_type = 2, .depth = 8}),
        draw_jpeg(&pictures[2][0][0][0], W, H, (struct jpeg_kind){.components = 3, .progressive = 1}),
    };
    moco_image *image;
    moco_tensor pixels;
    moco_tensor_init(&pixels);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(moco_image_decode(&image, context, file[i].at, file[i].size, W * H), MOCO_OK);
        assert_int_equal(moco_image_pixels(image, &pixels), MOCO_OK);
        assert_true(pixels.shape[0] == H && pixels.shape[1] == W && pixels.shape[2] == 3);
        if (i == 0)
            assert_memory_equal(pixels.data, pictures[2], sizeof pictures[2]);
        moco_image_free(image);
        assert_int_equal(moco_image_decode(&image, context, file[i].at, file[i].size / 2, 0), MOCO_EFORMAT);
        assert_null(image);
        assert_non_null(strstr(moco_error(), "moco_image_decode: "));
        assert_int_equal(moco_image_decode(&image, context, file[i].at, file[i].size, W * H - 1), MOCO_EFORMAT);
        assert_non_null(strstr(moco_error(), "more than the limit"));
        long long refused = 1;
        for (long long n = 0; refused > 0; n++) {
            struct failing_alloc memory = {.fail_at = n};
            moco_status status = decode_with(&memory, file[i]);
            refused = memory.refused;
            assert_int_equal(memory.live, 0);
            assert_int_equal(status, refused > 0 ? MOCO_ENOMEM : MOCO_OK);
        }
        free(file[i].at);
    }
}

static moco_status work(struct failing_alloc *memory)
{
    moco_context_options o;
    moco_context_options_init(&o);
    o.alloc = failing_alloc;
    o.release = failing_release;
    o.user = memory;
    moco_context *failing;
    moco_status status = moco_context_create(&failing, &o);
    if (status != MOCO_OK)
        return status;
    moco_augment_options recipe;
    moco_augment_options_preset(&recipe, "moco-v2", SIZE);
    moco_augment *augment = NULL;
    moco_view_params p;
    moco_view_params_init(&p);
    uint8_t view[SIZE * SIZE * 3];
    moco_tensor image = rgb(pictures[0], H, W), out = rgb(view, SIZE, SIZE);
    if ((status = moco_augment_create(&augment, failing, &recipe)) == MOCO_OK &&
        (status = moco_augment_draw(augment, W, H, 1, 0, 0, 0, &p)) == MOCO_OK) {
        p.sigma = 1;
        status = moco_augment_apply(augment, &image, &p, &out);
    }
    moco_context_free(failing);
    moco_augment_free(augment);
    return status;
}

static void failing_memory(void **state)
{
    (void)state;
    for (int forever = 0; forever < 2; forever++)
        for (long long n = 0;; n++) {
            struct failing_alloc memory = {.fail_at = n, .forever = forever};
            moco_status status = work(&memory);
            assert_int_equal(memory.live, 0);
            if (memory.refused == 0) {
                assert_int_equal(status, MOCO_OK);
                assert_true(n > 8);
                break;
            }
            assert_int_equal(status, MOCO_ENOMEM);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_the_views_of_a_loader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_handle_for_all_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parameters_are_the_callers_to_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(impossible_parameters_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pictures_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pictures_are_decoded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
