/* SPDX-License-Identifier: MIT
 *
 * moco/data.h: data sets, recipes and loaders. A loader holds a reference on its data set, so that they may be freed
 * in any order. MOCO_EEND is not a failure: it leaves moco_error() unchanged. */
#include "moco/data.h"

#include <stdint.h>
#include <string.h>

#include "api/objects.h"
#include "backend/fallback.h"
#include "data/dataset/dataset_index.h"
#include "data/loader.h"
#include "data/view/augment.h"

_Static_assert(sizeof(moco_augment_options) % 8 == 0, "struct sizes are multiples of 8");
_Static_assert(sizeof(moco_loader_options) % 8 == 0, "struct sizes are multiples of 8");
_Static_assert(sizeof(moco_encoded_source) % 8 == 0, "struct sizes are multiples of 8");
_Static_assert(sizeof(moco_image_source) % 8 == 0, "struct sizes are multiples of 8");
_Static_assert(sizeof(moco_loader_stats) % 8 == 0, "struct sizes are multiples of 8");

struct moco_loader {
    struct handle handle;
    moco_dataset *dataset;   /* a counted reference */
    moco_pictures *pictures; /* the loader's own handle on them, which is good as long as its batches; NULL: none */
    moco_device *device;     /* whose memory views are made in: a counted reference; NULL: none's */
    struct loader *loader;
};

/* ---- data sets ---- */

static void dataset_destroy(struct handle *handle)
{
    moco_dataset *dataset = (moco_dataset *)handle;
    dataset_free(dataset->ds);
    for (int i = 0; i < 2; i++)
        if (dataset->below[i] != NULL)
            handle_unref(&dataset->below[i]->handle);
}

static moco_status dataset_new(moco_dataset **out, moco_context *context, struct err *err)
{
    TRY(api_not_null(out, "dataset", err));
    *out = NULL;
    TRY(handle_check(context, HANDLE_CONTEXT, "context", err));
    *out = handle_new(context->handle.ctx, sizeof **out, HANDLE_DATASET, dataset_destroy, err);
    return *out != NULL ? MOCO_OK : MOCO_ENOMEM;
}

static moco_status dataset_made(moco_dataset **out, moco_status status)
{
    if (status != MOCO_OK) {
        handle_free(*out, HANDLE_DATASET);
        *out = NULL;
    }
    return status;
}

static moco_status open_folder(moco_dataset **out, moco_context *context, const char *path, moco_leave_out leave_out,
                               void *user, struct err *err)
{
    TRY(dataset_new(out, context, err));
    moco_status status = api_not_null(path, "path", err);
    if (status == MOCO_OK)
        status = dataset_open_folder(&(*out)->ds, context->handle.ctx, path, leave_out, user, err);
    return dataset_made(out, status);
}

moco_status moco_dataset_open_folder(moco_dataset **dataset, moco_context *context, const char *path)
{
    struct err err = {0};
    return api_return(open_folder(dataset, context, path, NULL, NULL, &err), "moco_dataset_open_folder", &err);
}

moco_status moco_dataset_open_folder_without(moco_dataset **dataset, moco_context *context, const char *path,
                                             moco_leave_out leave_out, void *user)
{
    struct err err = {0};
    return api_return(open_folder(dataset, context, path, leave_out, user, &err), "moco_dataset_open_folder_without",
                      &err);
}

static moco_status check_paths(const char *const *paths, int count, struct err *err)
{
    TRY(api_not_null(paths, "paths", err));
    if (count < 1)
        return err_set(err, MOCO_EINVAL, "count is %d; there must be at least one file", count);
    for (int i = 0; i < count; i++)
        if (paths[i] == NULL)
            return err_set(err, MOCO_EINVAL, "paths[%d] is NULL", i);
    return MOCO_OK;
}

static moco_status open_cifar10(moco_dataset **out, moco_context *context, const char *const *paths, int count,
                                struct err *err)
{
    TRY(dataset_new(out, context, err));
    moco_status status = check_paths(paths, count, err);
    if (status == MOCO_OK)
        status = dataset_open_cifar10(&(*out)->ds, context->handle.ctx, paths, count, err);
    return dataset_made(out, status);
}

moco_status moco_dataset_open_cifar10(moco_dataset **dataset, moco_context *context, const char *const *paths,
                                      int count)
{
    struct err err = {0};
    return api_return(open_cifar10(dataset, context, paths, count, &err), "moco_dataset_open_cifar10", &err);
}

static moco_status check_images(const moco_tensor *images, struct err *err)
{
    int64_t count;
    TRY(tensor_check(images, "images", 0, &count, err));
    if (images->dtype != MOCO_U8 || images->ndim != 4 || images->shape[3] != 3)
        return err_set(err, MOCO_ESHAPE, "images must be u8 [n,h,w,3]");
    if (images->shape[1] > INT16_MAX || images->shape[2] > INT16_MAX)
        return err_set(err, MOCO_ESHAPE, "images are %lld x %lld; a side may have up to %d pixels",
                       (long long)images->shape[2], (long long)images->shape[1], INT16_MAX);
    return MOCO_OK;
}

static moco_status from_memory(moco_dataset **out, moco_context *context, const moco_tensor *images,
                               const int32_t *labels, struct err *err)
{
    TRY(dataset_new(out, context, err));
    moco_status status = check_images(images, err);
    if (status == MOCO_OK)
        status = dataset_from_memory(&(*out)->ds, context->handle.ctx, images->data, images->shape[0],
                                     (int)images->shape[1], (int)images->shape[2], labels, err);
    return dataset_made(out, status);
}

moco_status moco_dataset_from_memory(moco_dataset **dataset, moco_context *context, const moco_tensor *images,
                                     const int32_t *labels)
{
    struct err err = {0};
    return api_return(from_memory(dataset, context, images, labels, &err), "moco_dataset_from_memory", &err);
}

static moco_status open_list(moco_dataset **out, moco_context *context, const char *path, struct err *err)
{
    TRY(dataset_new(out, context, err));
    moco_status status = api_not_null(path, "path", err);
    if (status == MOCO_OK)
        status = dataset_open_list(&(*out)->ds, context->handle.ctx, path, err);
    return dataset_made(out, status);
}

moco_status moco_dataset_open_list(moco_dataset **dataset, moco_context *context, const char *path)
{
    struct err err = {0};
    return api_return(open_list(dataset, context, path, &err), "moco_dataset_open_list", &err);
}

static moco_status open_tar(moco_dataset **out, moco_context *context, const char *const *paths, int count,
                            struct err *err)
{
    TRY(dataset_new(out, context, err));
    moco_status status = check_paths(paths, count, err);
    if (status == MOCO_OK)
        status = dataset_open_tar(&(*out)->ds, context->handle.ctx, paths, count, err);
    return dataset_made(out, status);
}

moco_status moco_dataset_open_tar(moco_dataset **dataset, moco_context *context, const char *const *paths, int count)
{
    struct err err = {0};
    return api_return(open_tar(dataset, context, paths, count, &err), "moco_dataset_open_tar", &err);
}

static moco_status open_index(moco_dataset **out, moco_context *context, const char *path, struct err *err)
{
    TRY(dataset_new(out, context, err));
    moco_status status = api_not_null(path, "path", err);
    if (status == MOCO_OK)
        status = dataset_open_index(&(*out)->ds, context->handle.ctx, path, err);
    return dataset_made(out, status);
}

moco_status moco_dataset_open_index(moco_dataset **dataset, moco_context *context, const char *path)
{
    struct err err = {0};
    return api_return(open_index(dataset, context, path, &err), "moco_dataset_open_index", &err);
}

void moco_image_source_init_sized(moco_image_source *source, size_t size)
{
    moco_image_source defaults = {0};
    struct_init(source, size, &defaults, sizeof defaults);
}

static moco_status from_callback(moco_dataset **out, moco_context *context, const moco_image_source *given,
                                 struct err *err)
{
    TRY(dataset_new(out, context, err));
    moco_image_source s = {0};
    moco_status status = struct_read(&s, sizeof s, given, "source", err);
    if (status == MOCO_OK) {
        struct dataset_source source = {
            .count = s.count, .classes = s.classes, .read = s.read, .done = s.done, .label = s.label, .user = s.user};
        status = dataset_from_callback(&(*out)->ds, context->handle.ctx, &source, err);
    }
    return dataset_made(out, status);
}

moco_status moco_dataset_from_callback(moco_dataset **dataset, moco_context *context, const moco_image_source *source)
{
    struct err err = {0};
    return api_return(from_callback(dataset, context, source, &err), "moco_dataset_from_callback", &err);
}

void moco_encoded_source_init_sized(moco_encoded_source *source, size_t size)
{
    moco_encoded_source defaults = {0};
    struct_init(source, size, &defaults, sizeof defaults);
}

static moco_status from_encoded(moco_dataset **out, moco_context *context, const moco_encoded_source *given,
                                struct err *err)
{
    TRY(dataset_new(out, context, err));
    moco_encoded_source s = {0};
    moco_status status = struct_read(&s, sizeof s, given, "source", err);
    if (status == MOCO_OK) {
        struct dataset_source source = {.count = s.count,
                                        .classes = s.classes,
                                        .read_encoded = s.read,
                                        .done_encoded = s.done,
                                        .label = s.label,
                                        .user = s.user};
        status = dataset_from_callback(&(*out)->ds, context->handle.ctx, &source, err);
    }
    return dataset_made(out, status);
}

moco_status moco_dataset_from_encoded(moco_dataset **dataset, moco_context *context, const moco_encoded_source *source)
{
    struct err err = {0};
    return api_return(from_encoded(dataset, context, source, &err), "moco_dataset_from_encoded", &err);
}

static moco_status match_classes(moco_dataset **out, moco_dataset *dataset, const moco_dataset *like, struct err *err)
{
    TRY(api_not_null(out, "out", err));
    *out = NULL;
    TRY(handle_check(dataset, HANDLE_DATASET, "dataset", err));
    TRY(handle_check(like, HANDLE_DATASET, "like", err));
    *out = handle_new(dataset->handle.ctx, sizeof **out, HANDLE_DATASET, dataset_destroy, err);
    if (*out == NULL)
        return MOCO_ENOMEM;
    handle_ref(&dataset->handle);
    (*out)->below[0] = dataset;
    return dataset_made(out, dataset_match(&(*out)->ds, dataset->handle.ctx, dataset->ds, like->ds, err));
}

moco_status moco_dataset_match_classes(moco_dataset **out, moco_dataset *dataset, const moco_dataset *like)
{
    struct err err = {0};
    return api_return(match_classes(out, dataset, like, &err), "moco_dataset_match_classes", &err);
}

static moco_status join(moco_dataset **out, moco_dataset *first, moco_dataset *second, struct err *err)
{
    TRY(api_not_null(out, "out", err));
    *out = NULL;
    TRY(handle_check(first, HANDLE_DATASET, "first", err));
    TRY(handle_check(second, HANDLE_DATASET, "second", err));
    *out = handle_new(first->handle.ctx, sizeof **out, HANDLE_DATASET, dataset_destroy, err);
    if (*out == NULL)
        return MOCO_ENOMEM;
    moco_dataset *const both[2] = {first, second};
    for (int i = 0; i < 2; i++) {
        handle_ref(&both[i]->handle);
        (*out)->below[i] = both[i];
    }
    return dataset_made(out, dataset_join(&(*out)->ds, first->handle.ctx, first->ds, second->ds, err));
}

moco_status moco_dataset_join(moco_dataset **out, moco_dataset *first, moco_dataset *second)
{
    struct err err = {0};
    return api_return(join(out, first, second, &err), "moco_dataset_join", &err);
}

void moco_dataset_free(moco_dataset *dataset)
{
    handle_free(dataset, HANDLE_DATASET);
}

int64_t moco_dataset_count(const moco_dataset *dataset)
{
    return handle_valid(dataset, HANDLE_DATASET) ? dataset->ds->count : 0;
}

int32_t moco_dataset_label(const moco_dataset *dataset, int64_t id)
{
    if (!handle_valid(dataset, HANDLE_DATASET) || id < 0 || id >= dataset->ds->count)
        return -1;
    return dataset->ds->ops->label(dataset->ds, id);
}

int32_t moco_dataset_classes(const moco_dataset *dataset)
{
    return handle_valid(dataset, HANDLE_DATASET) ? dataset->ds->classes : 0;
}

const char *moco_dataset_class_name(const moco_dataset *dataset, int32_t label)
{
    if (!handle_valid(dataset, HANDLE_DATASET) || label < 0 || label >= dataset->ds->classes)
        return "";
    return dataset->ds->ops->class_name(dataset->ds, label);
}

const char *moco_dataset_left_out(const moco_dataset *dataset, int index, int64_t *count)
{
    if (handle_valid(dataset, HANDLE_DATASET))
        return dataset_left_out(dataset->ds, index, count);
    if (count != NULL)
        *count = 0;
    return NULL;
}

const char *moco_dataset_index_hash(const moco_dataset *dataset)
{
    return handle_valid(dataset, HANDLE_DATASET) ? dataset_index_hash(dataset->ds) : NULL;
}

static moco_status dataset_path(const moco_dataset *dataset, int64_t id, char *text, size_t size, struct err *err)
{
    TRY(handle_check(dataset, HANDLE_DATASET, "dataset", err));
    TRY(api_not_null(text, "text", err));
    if (id < 0 || id >= dataset->ds->count)
        return err_set(err, MOCO_EINVAL, "id is %lld; it must be 0 to %lld", (long long)id,
                       (long long)dataset->ds->count - 1);
    if (dataset->ds->ops->path(dataset->ds, id, text, size) != MOCO_OK)
        return err_set(err, MOCO_ESHAPE, "the path of image %lld does not fit in %zu bytes", (long long)id, size);
    return MOCO_OK;
}

moco_status moco_dataset_path(const moco_dataset *dataset, int64_t id, char *text, size_t size)
{
    struct err err = {0};
    return api_return(dataset_path(dataset, id, text, size, &err), "moco_dataset_path", &err);
}

static moco_status verify(const moco_dataset *dataset, int64_t first, int64_t count, int64_t max_pixels,
                          moco_bad_image report, void *user, int64_t *bad, struct err *err)
{
    TRY(handle_check(dataset, HANDLE_DATASET, "dataset", err));
    TRY(api_not_null(bad, "bad", err));
    if (first < 0 || count < 0 || count > dataset->ds->count - first)
        return err_set(err, MOCO_EINVAL, "first is %lld and count %lld in a data set of %lld images", (long long)first,
                       (long long)count, (long long)dataset->ds->count);
    if (max_pixels < 0)
        return err_set(err, MOCO_EINVAL, "max_pixels is %lld; it must be positive, or 0 for the default",
                       (long long)max_pixels);
    return dataset_verify(dataset->ds, first, count, max_pixels > 0 ? max_pixels : DECODE_MAX_PIXELS, report, user, bad,
                          err);
}

moco_status moco_dataset_verify(const moco_dataset *dataset, int64_t first, int64_t count, int64_t max_pixels,
                                moco_bad_image report, void *user, int64_t *bad)
{
    struct err err = {0};
    return api_return(verify(dataset, first, count, max_pixels, report, user, bad, &err), "moco_dataset_verify", &err);
}

static moco_status save_index(const moco_dataset *dataset, const char *path, struct err *err)
{
    TRY(handle_check(dataset, HANDLE_DATASET, "dataset", err));
    TRY(api_not_null(path, "path", err));
    return dataset_index_save(dataset->ds, path, err);
}

moco_status moco_dataset_save_index(const moco_dataset *dataset, const char *path)
{
    struct err err = {0};
    return api_return(save_index(dataset, path, &err), "moco_dataset_save_index", &err);
}

/* ---- recipes ---- */

static moco_status augment_preset(moco_augment_options *options, size_t size, const char *name, int image_size,
                                  struct err *err)
{
    TRY(struct_fill_check(options, size, "options", err));
    TRY(api_not_null(name, "name", err));
    moco_augment_options recipe = {0};
    TRY(augment_recipe(&recipe, name, image_size, err));
    struct_init(options, size, &recipe, sizeof recipe);
    return MOCO_OK;
}

moco_status moco_augment_options_preset_sized(moco_augment_options *options, size_t size, const char *name,
                                              int image_size)
{
    struct err err = {0};
    return api_return(augment_preset(options, size, name, image_size, &err), "moco_augment_options_preset", &err);
}

/* ---- pictures in the memory of a device ---- */

static void pictures_destroy(struct handle *handle)
{
    moco_pictures *pictures = (moco_pictures *)handle;
    if (pictures->of != NULL) {
        handle_unref(&pictures->of->handle);
        return;
    }
    resident_free(pictures->resident);
    if (pictures->dataset != NULL)
        handle_unref(&pictures->dataset->handle);
    if (pictures->device != NULL)
        handle_unref(&pictures->device->handle);
}

static moco_status share_pictures(moco_pictures **out, moco_pictures *of, struct err *err)
{
    *out = handle_new(of->handle.ctx, sizeof **out, HANDLE_PICTURES, pictures_destroy, err);
    if (*out == NULL)
        return MOCO_ENOMEM;
    handle_ref(&of->handle);
    (*out)->of = of;
    (*out)->resident = of->resident;
    return MOCO_OK;
}

static moco_status make_pictures(moco_pictures **out, moco_device *device, moco_dataset *dataset, int64_t max_pixels,
                                 struct err *err)
{
    TRY(api_not_null(out, "pictures", err));
    *out = NULL;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(handle_check(dataset, HANDLE_DATASET, "dataset", err));
    if (max_pixels < 0)
        return err_set(err, MOCO_EINVAL, "max_pixels is %lld; it must be positive, or 0 for the default",
                       (long long)max_pixels);
    moco_pictures *pictures = handle_new(device->handle.ctx, sizeof *pictures, HANDLE_PICTURES, pictures_destroy, err);
    if (pictures == NULL)
        return MOCO_ENOMEM;
    handle_ref(&device->handle);
    pictures->device = device;
    handle_ref(&dataset->handle);
    pictures->dataset = dataset;
    moco_status status = resident_create(&pictures->resident, device->handle.ctx, device->backend, device->dev,
                                         dataset->ds, max_pixels > 0 ? max_pixels : DECODE_MAX_PIXELS, err);
    if (status != MOCO_OK) {
        handle_free(pictures, HANDLE_PICTURES);
        return status;
    }
    *out = pictures;
    return MOCO_OK;
}

moco_status moco_pictures_create(moco_pictures **pictures, moco_device *device, moco_dataset *dataset,
                                 int64_t max_pixels)
{
    struct err err = {0};
    return api_return(make_pictures(pictures, device, dataset, max_pixels, &err), "moco_pictures_create", &err);
}

static moco_status estimate_pictures(const moco_device *device, const moco_dataset *dataset, int64_t *bytes,
                                     struct err *err)
{
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(handle_check(dataset, HANDLE_DATASET, "dataset", err));
    TRY(api_not_null(bytes, "bytes", err));
    return resident_estimate(device->backend, dataset->ds, bytes, err);
}

moco_status moco_pictures_estimate(const moco_device *device, const moco_dataset *dataset, int64_t *bytes)
{
    struct err err = {0};
    return api_return(estimate_pictures(device, dataset, bytes, &err), "moco_pictures_estimate", &err);
}

void moco_pictures_free(moco_pictures *pictures)
{
    handle_free(pictures, HANDLE_PICTURES);
}

int64_t moco_pictures_bytes(const moco_pictures *pictures)
{
    return handle_valid(pictures, HANDLE_PICTURES) ? pictures->resident->bytes : 0;
}

/* ---- loaders ---- */

static moco_loader_options loader_defaults(void)
{
    return (moco_loader_options){.batch_size = 256,
                                 .prefetch = 2,
                                 .permuted = 1,
                                 .drop_last = 1,
                                 .max_bad = -1,
                                 .max_pixels = DECODE_MAX_PIXELS,
                                 .ranks = 1};
}

void moco_loader_options_init_sized(moco_loader_options *options, size_t size)
{
    moco_loader_options defaults = loader_defaults();
    struct_init(options, size, &defaults, sizeof defaults);
}

void moco_loader_stats_init_sized(moco_loader_stats *stats, size_t size)
{
    moco_loader_stats defaults = {0};
    struct_init(stats, size, &defaults, sizeof defaults);
}

static void loader_destroy(struct handle *handle)
{
    moco_loader *loader = (moco_loader *)handle;
    loader_free(loader->loader);
    if (loader->dataset != NULL)
        handle_unref(&loader->dataset->handle);
    handle_free(loader->pictures, HANDLE_PICTURES);
    if (loader->device != NULL)
        handle_unref(&loader->device->handle);
}

static moco_status take_of_device(void *user, size_t bytes, void **out, struct err *err)
{
    const moco_device *device = user;
    return backend_host_alloc(device->backend, device->dev, device->handle.ctx, bytes, out, err);
}

static void give_to_device(void *user, void *memory, size_t bytes)
{
    const moco_device *device = user;
    backend_host_free(device->backend, device->dev, device->handle.ctx, memory, bytes);
}

static moco_status read_options(struct loader_options *to, const moco_loader_options *given, moco_pictures **pictures,
                                moco_device **device, struct err *err)
{
    moco_loader_options o = loader_defaults();
    TRY(struct_read(&o, sizeof o, given, "options", err));
    *to = (struct loader_options){.batch_size = o.batch_size,
                                  .workers = o.workers,
                                  .prefetch = o.prefetch,
                                  .permuted = o.permuted != 0,
                                  .drop_last = o.drop_last != 0,
                                  .rank = o.rank,
                                  .ranks = o.ranks,
                                  .interleave = o.interleave != 0,
                                  .seed = o.seed,
                                  .max_bad = o.max_bad,
                                  .bad = o.bad,
                                  .max_pixels = o.max_pixels};
    TRY(api_not_null(o.recipe[0], "options.recipe[0]", err));
    for (int v = 0; v < 2 && o.recipe[v] != NULL; v++) {
        TRY(struct_read(&to->recipe[v], sizeof to->recipe[v], o.recipe[v], v == 0 ? "recipe[0]" : "recipe[1]", err));
        TRY(struct_reserved(to->recipe[v].reserved0, "moco_augment_options.reserved0", err));
        to->views = v + 1;
    }
    *pictures = o.pictures;
    *device = o.device;
    if (o.device != NULL) {
        TRY(handle_check(o.device, HANDLE_DEVICE, "options.device", err));
        to->memory = (struct loader_memory){take_of_device, give_to_device, o.device};
    }
    return MOCO_OK;
}

static moco_status make_loader(moco_loader **out, moco_dataset *dataset, const moco_loader_options *options,
                               struct err *err)
{
    TRY(api_not_null(out, "loader", err));
    *out = NULL;
    TRY(handle_check(dataset, HANDLE_DATASET, "dataset", err));
    struct loader_options o;
    moco_pictures *pictures;
    moco_device *device;
    TRY(read_options(&o, options, &pictures, &device, err));
    if (pictures != NULL) {
        TRY(handle_check(pictures, HANDLE_PICTURES, "options.pictures", err));
        if (pictures->dataset != dataset)
            return err_set(err, MOCO_EINVAL, "options.pictures are those of another data set");
        o.side = (const int32_t(*)[2])pictures->resident->side;
    }
    moco_loader *loader = handle_new(dataset->handle.ctx, sizeof *loader, HANDLE_LOADER, loader_destroy, err);
    if (loader == NULL)
        return MOCO_ENOMEM;
    handle_ref(&dataset->handle);
    loader->dataset = dataset;
    if (device != NULL)
        handle_ref(&device->handle);
    loader->device = device;
    moco_status status = pictures != NULL ? share_pictures(&loader->pictures, pictures, err) : MOCO_OK;
    if (status == MOCO_OK)
        status = loader_create(&loader->loader, dataset->handle.ctx, dataset->ds, &o, err);
    if (status != MOCO_OK) {
        handle_free(loader, HANDLE_LOADER);
        return status;
    }
    *out = loader;
    return MOCO_OK;
}

moco_status moco_loader_create(moco_loader **loader, moco_dataset *dataset, const moco_loader_options *options)
{
    struct err err = {0};
    return api_return(make_loader(loader, dataset, options, &err), "moco_loader_create", &err);
}

void moco_loader_free(moco_loader *loader)
{
    handle_free(loader, HANDLE_LOADER);
}

static moco_status start_at(moco_loader *loader, int64_t epoch, int64_t position, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, loader, HANDLE_LOADER, "loader", err));
    return loader_start(loader->loader, epoch, position, err);
}

moco_status moco_loader_start(moco_loader *loader, int64_t epoch)
{
    struct err err = {0};
    return api_return(start_at(loader, epoch, 0, &err), "moco_loader_start", &err);
}

moco_status moco_loader_start_at(moco_loader *loader, int64_t epoch, int64_t position)
{
    struct err err = {0};
    return api_return(start_at(loader, epoch, position, &err), "moco_loader_start_at", &err);
}

static moco_status start_keys(moco_loader *loader, int64_t epoch, int64_t position, int64_t step, uint64_t seed,
                              int symmetric, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, loader, HANDLE_LOADER, "loader", err));
    return loader_start_keys(loader->loader, epoch, position, step, seed, symmetric, err);
}

moco_status moco_loader_start_keys(moco_loader *loader, int64_t epoch, int64_t position, int64_t step, uint64_t seed,
                                   int symmetric)
{
    struct err err = {0};
    return api_return(start_keys(loader, epoch, position, step, seed, symmetric, &err), "moco_loader_start_keys", &err);
}

static moco_status next_batch(moco_loader *loader, moco_batch *batch, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, loader, HANDLE_LOADER, "loader", err));
    TRY(struct_check(batch, "batch", err));
    moco_batch filled = {0};
    TRY(loader_next(loader->loader, &filled, err));
    filled.pictures = loader->pictures;
    struct_write(batch, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_loader_next(moco_loader *loader, moco_batch *batch)
{
    struct err err = {0};
    moco_status status = next_batch(loader, batch, &err);
    return status == MOCO_EEND ? status : api_return(status, "moco_loader_next", &err);
}

int64_t moco_loader_batches(const moco_loader *loader)
{
    return handle_valid(loader, HANDLE_LOADER) ? loader_batches(loader->loader) : 0;
}

static moco_status get_stats(const moco_loader *loader, moco_loader_stats *stats, struct err *err)
{
    TRY(handle_check(loader, HANDLE_LOADER, "loader", err));
    TRY(struct_check(stats, "stats", err));
    moco_loader_stats filled = {0};
    loader_stats(loader->loader, &filled.bad_images, &filled.images, &filled.wait_seconds);
    struct_write(stats, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_loader_get_stats(const moco_loader *loader, moco_loader_stats *stats)
{
    struct err err = {0};
    return api_return(get_stats(loader, stats, &err), "moco_loader_get_stats", &err);
}

static moco_status bad_images(moco_loader *loader, moco_bad_image report, void *user, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, loader, HANDLE_LOADER, "loader", err));
    TRY(api_not_null((const void *)(uintptr_t)report, "report", err));
    const struct dataset *ds = loader->dataset->ds;
    char reason[sizeof err->text], path[4096 + 64];
    int64_t id = -1;
    while (loader_bad_after(loader->loader, id, &id, reason, sizeof reason)) {
        if (ds->ops->path(ds, id, path, sizeof path) != MOCO_OK)
            path[0] = 0;
        if (report(user, id, path, reason) != 0)
            break;
    }
    return MOCO_OK;
}

moco_status moco_loader_bad_images(moco_loader *loader, moco_bad_image report, void *user)
{
    struct err err = {0};
    return api_return(bad_images(loader, report, user, &err), "moco_loader_bad_images", &err);
}
