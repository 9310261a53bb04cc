/* SPDX-License-Identifier: MIT
 *
 * test_cpp_results: every call of moco.hpp that returns a result, and those that cannot fail: once right, once wrong, and
 * on a handle that was moved from. It is compiled without exceptions and RTTI, too (test_cpp_header.sh). What a reader
 * would get wrong: what the calls compute is tested elsewhere; here it is asked whether a wrapper hands on all it was given. */
#include "abi/cpp/cpp_rig.hpp"

#include <cmath>
#include <string_view>
#include <thread>

static const scratch folder;

template <class R> static bool fails(const R &call, moco_status status, const char *part = "")
{
    if (call || call.status() != status || std::strstr(call.error().what(), part) == nullptr) {
        std::printf("%s: %s\n", moco::status_text(call.status()), call ? "" : call.error().what());
        return false;
    }
    return call.error().status() == status && *call.error().what() != 0;
}

/* The value, or the end of the test. */
template <class T> static T must_at(moco::result<T> call, int line)
{
    if (call)
        return std::move(*call);
    std::printf("line %d: %s\n", line, call.error().what());
    std::exit(1);
}
#define MUST(call) must_at((call), __LINE__)

/* ---- results, views ---- */

static void results()
{
    moco::result<int> good = 3, bad = moco::error(MOCO_EIO, "no");
    CHECK(good && *good == 3 && good.status() == MOCO_OK);
    CHECK(fails(bad, MOCO_EIO, "no") && !bad.error().cause());
    moco::result<void> nothing, failed = moco::error(MOCO_ENOMEM, "");
    CHECK(nothing && nothing.status() == MOCO_OK && !failed && failed.status() == MOCO_ENOMEM);
    moco::error lengthy(MOCO_EINVAL, (std::string(510, 'x') + "\xc3\xa9").c_str()); /* cut before a whole letter */
    CHECK(std::strlen(lengthy.what()) == 510);
    moco::error copy = lengthy;
    CHECK(std::strcmp(copy.what(), lengthy.what()) == 0);
    CHECK(moco::version() == MOCO_VERSION && moco::dtype_size(MOCO_BF16) == sizeof(moco::bf16));
    moco_queue_push(nullptr, nullptr);
    CHECK(std::strcmp(moco::error::last(MOCO_EINVAL).what(), moco_error()) == 0 && *moco_error() != 0);
}

static void views()
{
    std::vector<float> numbers = {0, 1, 2, 3, 4, 5};
    moco::view<float> all(numbers), table(numbers, {2, 3});
    CHECK(all.size() == 6 && all.shape().ndim() == 1 && all.rows() == 6);
    CHECK(table.rows() == 2 && table.row(1).size() == 3 && table.row(1)[2] == 5 && table.row(1).row(1)[0] == 4);
    moco::view<const float> reading = table;
    float sum = 0;
    for (float number : reading)
        sum += number;
    CHECK(sum == 15 && reading.shape()[1] == 3);
    moco::view<const float> wrong_shape(numbers, {2, 4});
    CHECK(!wrong_shape.whole() && wrong_shape.size() == 0 && moco::input(wrong_shape).c()->ndim == -1);
    CHECK(moco::shape({1, 2, 3, 4, 5, 6, 7, 8, 9}).count() == -1 && moco::shape({3, -1}).count() == -1);
    CHECK(moco::shape({1 << 30, 1 << 30, 1 << 30}).count() == -1 && moco::shape({0, 5}).count() == 0);
    moco::array<double> own({2, 2});
    own.row(1)[0] = 7;
    CHECK(own.size() == 4 && own[2] == 7 && moco::output(own).c()->dtype == MOCO_F64);
    const moco::array<double> same = own;
    moco::view<const double> of_array = same;
    CHECK(of_array.shape().ndim() == 2 && moco::view<double>(own).rows() == 2);
    CHECK(same.row(1)[0] == 7 && same.all().rows() == 2 && same.data() != own.data());
    CHECK(moco::input(table).c()->data == numbers.data() && moco::input(table).columns() == 3);
    static_assert(!std::is_constructible_v<moco::output, moco::view<const float>>, "const numbers are not written to");
    static_assert(!std::is_copy_constructible_v<moco::model> && std::is_nothrow_move_constructible_v<moco::model>);
    static_assert(sizeof(moco::loader_options) == sizeof(moco_loader_options), "options are the C struct");
}

/* ---- context, device, pure functions ---- */

static void pure_functions()
{
    CHECK(moco::lr_cosine(1, 0, 10) == 1 && moco::lr_warmup_cosine(1, 0, 2, 10) == 0);
    CHECK(std::fabs(moco::lr_steps(1, 9, std::vector<int32_t>{3, 7}, 0.1) - 0.01) < 1e-12);
    CHECK(moco::preset::name_of(0) != nullptr && moco::preset::name_of(1000) == nullptr);
    moco::preset preset = MUST(moco::preset::try_find("moco-v2"));
    CHECK(preset.queue_length == 65536 && preset.rate(0, 10, preset.epochs) == preset.lr);
    CHECK(fails(moco::preset::try_find("nobody's"), MOCO_ENOTFOUND, "moco-v2"));
    CHECK(MUST(moco::model_options::try_preset("moco-v1")).head == std::string("linear"));
    CHECK(fails(moco::model_options::try_preset("x"), MOCO_ENOTFOUND));
    CHECK(MUST(moco::trainer_options::try_preset("moco-v1")).temperature == 0.07);
    CHECK(fails(moco::trainer_options::try_preset("x"), MOCO_ENOTFOUND));
    CHECK(MUST(moco::augment_options::try_preset("eval", 64)).size == 64);
    CHECK(fails(moco::augment_options::try_preset("x", 64), MOCO_ENOTFOUND));
    CHECK(MUST(moco::try_shuffle_permutation(1, 2, 0, 16)).size() == 16);
    CHECK(fails(moco::try_shuffle_permutation(1, 2, 0, -1), MOCO_EINVAL));
    CHECK(MUST(moco::try_epoch_permutation(1, 0, 1, 0)) == 0);
    CHECK(fails(moco::try_epoch_permutation(1, 0, 4, 9), MOCO_EINVAL));
}

static int allocations;
static void *counted_alloc(void *user, size_t size, size_t align)
{
    ++*static_cast<int *>(user);
    return std::aligned_alloc(align, (size + align - 1) / align * align);
}
static void counted_release(void *, void *memory, size_t)
{
    std::free(memory);
}

static void contexts()
{
    moco::context_options options;
    options.threads = -1;
    CHECK(fails(moco::context::try_create(options), MOCO_EINVAL, "threads"));
    options.threads = 1;
    options.alloc = counted_alloc; /* together with a lambda, whose state takes the place of `user` */
    options.release = counted_release;
    options.user = &allocations;
    std::shared_ptr<int> lines = std::make_shared<int>(0);
    moco::device device;
    {
        moco::context context = MUST(moco::context::try_create(options, [lines](int, const char *) { ++*lines; }));
        device = MUST(moco::device::try_open(context, test_device()));
        CHECK(allocations > 0 && MUST(context.try_memory()).live_bytes > 0);
    }
    CHECK(lines.use_count() == 2); /* the context is gone, and what was made from it may still write */
    moco::knn knn = MUST(moco::knn::try_create(device, 2, 5, 1));
    device = moco::device();
    std::vector<float> row = {1, 0};
    CHECK(knn.try_add(moco::view<float>(row, {1, 2}), std::vector<int32_t>{4}));
    CHECK(MUST(knn.try_classify(moco::view<float>(row, {1, 2})))[0] == 4 && *lines == 1);
    knn = moco::knn();
    CHECK(lines.use_count() == 1);
    moco::context nobody;
    CHECK(fails(nobody.try_memory(), MOCO_EINVAL) && fails(moco::device::try_open(nobody, "ref"), MOCO_EINVAL));
}

static void devices(const moco::context &context)
{
    CHECK(fails(moco::device::try_open(context, "no-such"), MOCO_ENODEV, "no-such"));
    moco::device device = MUST(moco::device::try_open(context, std::string(test_device())));
    CHECK(MUST(device.try_describe()).name == std::string(test_device()));
    CHECK(device.try_memory() && device && device.get() != nullptr);
    moco::device other = std::move(device);
    CHECK(other && !device && fails(device.try_describe(), MOCO_EINVAL) && fails(device.try_memory(), MOCO_EINVAL));
    moco::device &same = other;
    other = std::move(same);
    CHECK(other && other.try_describe());
}

/* ---- data ---- */

static void pictures(const moco::context &context)
{
    std::string bytes = jpeg(1);
    moco::image image = MUST(moco::image::try_decode(context, bytes));
    moco::view<const uint8_t> pixels = MUST(image.try_pixels());
    CHECK(pixels.shape().ndim() == 3 && pixels.rows() == SIDE + 4 && pixels.size() == (SIDE + 4) * (SIDE + 4) * 3);
    CHECK(fails(moco::image::try_decode(context, std::string("no picture")), MOCO_EFORMAT));
    CHECK(fails(moco::image::try_decode(context, bytes, 7), MOCO_EFORMAT));
    scratch_write(&folder, "one.jpg", bytes.data(), bytes.size());
    CHECK(moco::image::try_read(context, folder("one.jpg")));
    CHECK(fails(moco::image::try_read(context, folder("none.jpg")), MOCO_EIO, "none.jpg"));
    moco::augment_options recipe = MUST(moco::augment_options::try_preset("moco-v2", SIDE));
    moco::augment augment = MUST(moco::augment::try_create(context, recipe));
    moco::view_params params = MUST(augment.try_draw(SIDE + 4, SIDE + 4, 1, 0, 0, 0));
    moco::array<uint8_t> view({SIDE, SIDE, 3});
    CHECK(augment.try_apply(pixels, params, view));
    CHECK(fails(augment.try_draw(0, 0, 1, 0, 0, 0), MOCO_EINVAL));
    params.crop[0] = 99;
    CHECK(fails(augment.try_apply(pixels, params, view), MOCO_EINVAL));
    recipe.size = -1;
    CHECK(fails(moco::augment::try_create(context, recipe), MOCO_EINVAL));
    moco::image gone = std::move(image);
    CHECK(fails(image.try_pixels(), MOCO_EINVAL));
}

static void data_sets(const moco::context &context)
{
    for (int i = 0; i < 6; i++) {
        std::string bytes = jpeg(i), name = "set/" + std::string(1, static_cast<char>('a' + i % 2)) + "/";
        scratch_write(&folder, (name + std::to_string(i) + ".jpg").c_str(), bytes.data(), bytes.size());
    }
    scratch_write(&folder, "set/c/bad.jpg", "no picture", 10);
    scratch_write(&folder, "set/a/notes.bmp", "x", 1);
    moco::dataset all = MUST(moco::dataset::try_open_folder(context, folder("set")));
    CHECK(all.count() == 7 && all.classes() == 3 && all.label(0) == 0 && all.class_name(1) == std::string("b"));
    CHECK(all.left_out(0).extension == std::string(".bmp") && all.left_out(0).count == 1 && !all.left_out(1).extension);
    CHECK(MUST(all.try_path(0)) == folder("set") + "/a/0.jpg" && fails(all.try_path(99), MOCO_EINVAL));
    int64_t told = -1;
    CHECK(MUST(all.try_verify(0, 7, [&](int64_t id, const char *, const char *why) { told = *why != 0 ? id : -1; })) ==
          1);
    CHECK(told == 6 && MUST(all.try_verify(0, 6)) == 0 && fails(all.try_verify(5, 9), MOCO_EINVAL));
    CHECK(fails(all.try_verify(0, 7, [](int64_t, const char *, const char *) { return false; }), MOCO_ECANCELED));
    moco::dataset two = MUST(moco::dataset::try_open_folder(
        context, folder("set"), [](const char *path) { return std::string_view(path).back() == 'c'; }));
    CHECK(two.count() == 6 && two.classes() == 2);
    CHECK(MUST(moco::dataset::try_match_classes(all, two)).count() == 6 &&
          MUST(moco::dataset::try_join(all, two)).count() == 13);
    CHECK(fails(moco::dataset::try_open_folder(context, folder("nowhere")), MOCO_EIO));

    std::string list = "set/a/0.jpg\t1\nset/b/1.jpg\t0\n", record(3073, 1);
    scratch_write(&folder, "list.txt", list.data(), list.size());
    scratch_write(&folder, "batch.bin", record.data(), record.size());
    CHECK(MUST(moco::dataset::try_open_list(context, folder("list.txt"))).count() == 2);
    CHECK(MUST(moco::dataset::try_open_cifar10(context, std::vector<std::string>{folder("batch.bin")})).count() == 1);
    std::string other = folder("list.txt");
    CHECK(fails(moco::dataset::try_open_cifar10(context, std::vector<const char *>{other.c_str()}), MOCO_EFORMAT));
    CHECK(fails(moco::dataset::try_open_tar(context, std::vector<std::string>{other}), MOCO_EFORMAT));
    CHECK(fails(moco::dataset::try_open_list(context, folder("none")), MOCO_EIO));
    CHECK(fails(all.try_save_index(folder("index")), MOCO_ENOTSUP));
    CHECK(fails(moco::dataset::try_open_index(context, folder("list.txt")), MOCO_EFORMAT));

    std::vector<uint8_t> memory(2 * 4 * 4 * 3);
    std::vector<int32_t> two_labels = {0, 1};
    moco::view<const uint8_t> images(memory, {2, 4, 4, 3});
    moco::dataset of_memory = MUST(moco::dataset::try_from_memory(context, images, two_labels));
    CHECK(of_memory.count() == 2 && of_memory.label(1) == 1 && MUST(of_memory.try_path(0)).empty());
    CHECK(fails(moco::dataset::try_from_memory(context, images, std::vector<int32_t>{0}), MOCO_ESHAPE, "labels"));
    CHECK(fails(moco::dataset::try_from_memory(context, moco::view<const uint8_t>(memory, {3, 4, 4, 3})), MOCO_ESHAPE));
    moco::dataset gone = std::move(all);
    CHECK(all.count() == 0 && all.label(0) == -1 && fails(all.try_verify(0, 1), MOCO_EINVAL));
    CHECK(fails(moco::dataset::try_join(all, two), MOCO_EINVAL) &&
          fails(moco::dataset::try_match_classes(all, two), MOCO_EINVAL));
}

/* Reads one epoch. */
static moco::result<int64_t> rows_of(moco::loader &loader)
{
    int64_t rows = 0;
    moco::batch batch;
    if (moco::result<void> start = loader.try_start(0); !start)
        return start.error();
    for (;;) {
        moco::result<bool> next = loader.try_next(batch);
        if (!next)
            return next.error();
        if (!*next)
            return rows;
        CHECK(batch.images(0).rows() == batch.n && batch.samples().size() == static_cast<size_t>(batch.n));
        rows += batch.n;
    }
}

static void loaders_and_lambdas(const moco::context &context)
{
    moco::augment_options recipe = MUST(moco::augment_options::try_preset("eval", SIDE));
    moco::loader_options loading = small_loading(&recipe, nullptr);
    loading.bad = MOCO_BAD_SKIP;
    loading.drop_last = 0;
    auto guard = std::make_shared<int>(0); /* lives as long as a lambda does */
    auto label = [](int64_t id) { return static_cast<int32_t>(id % CLASSES); };
    /* All that a lambda may return; number 3 is bad where it can say so, and number 5 always. */
    auto optional = [guard](int64_t id) -> std::optional<std::string> {
        if (id == 3)
            return std::nullopt;
        return id == 5 ? std::string("short") : jpeg(id);
    };
    moco::loader loader;
    {
        moco::dataset set = MUST(moco::dataset::try_from_encoded(context, PICTURES, optional, CLASSES, label));
        CHECK(set.classes() == CLASSES && set.label(4) == 1);
        loader = MUST(moco::loader::try_create(set, loading));
    }
    CHECK(guard.use_count() == 3 && loader.batches() == PICTURES / BATCH); /* ours, `optional`, the loader's */
    CHECK(MUST(rows_of(loader)) == PICTURES - 2 && MUST(loader.try_stats()).bad_images == 2);
    std::string told;
    CHECK(loader.try_bad_images([&](int64_t id, const char *, const char *why) { told += std::to_string(id) + why; }));
    CHECK(told.find("3") == 0 && told.find("no such picture") != std::string::npos &&
          told.find("5") != std::string::npos);
    CHECK(loader.try_start_at(0, BATCH) && fails(loader.try_start(-1), MOCO_EINVAL));
    CHECK(fails(loader.try_start_keys(0, 0, 0, 1, false), MOCO_EINVAL));
    loader = moco::loader();
    CHECK(guard.use_count() == 2 && fails(loader.try_stats(), MOCO_EINVAL) && loader.batches() == 0);

    auto result_of = [](int64_t id) -> moco::result<std::vector<uint8_t>> {
        if (id == 3)
            return moco::error(MOCO_EIO, "the cable is out");
        std::string bytes = jpeg(id);
        return std::vector<uint8_t>(bytes.begin(), bytes.end());
    };
    moco::dataset failing = MUST(moco::dataset::try_from_encoded(context, PICTURES, result_of));
    loader = MUST(moco::loader::try_create(failing, loading));
    CHECK(failing.classes() == 0 && fails(rows_of(loader), MOCO_EIO, "the cable is out"));

    loading.bad = MOCO_BAD_FAIL;
    std::string first = jpeg(1); /* borrowed bytes and pixels, which are not copied */
    auto borrowed = [&](int64_t) { return std::string_view(first); };
    loader = MUST(moco::loader::try_create(MUST(moco::dataset::try_from_encoded(context, 9, borrowed)), loading));
    CHECK(MUST(rows_of(loader)) == 9);
    auto owned = [](int64_t id) { return drawn(id); };
    loader = MUST(moco::loader::try_create(MUST(moco::dataset::try_from_images(context, 9, owned)), loading));
    CHECK(MUST(rows_of(loader)) == 9);
    moco::array<uint8_t> one = drawn(1);
    auto view = [&](int64_t) -> moco::view<const uint8_t> { return one.all(); };
    loader = MUST(moco::loader::try_create(MUST(moco::dataset::try_from_images(context, 9, view, 2, label)), loading));
    CHECK(MUST(rows_of(loader)) == 9);
    auto decoded = [&](int64_t id) { return moco::image::try_decode(context, jpeg(id)); };
    loader = MUST(moco::loader::try_create(MUST(moco::dataset::try_from_images(context, 9, decoded)), loading));
    CHECK(MUST(rows_of(loader)) == 9);
    auto flat = [&](int64_t) { return moco::array<uint8_t>({SIDE * SIDE * 3}); };
    loader = MUST(moco::loader::try_create(MUST(moco::dataset::try_from_images(context, 9, flat)), loading));
    CHECK(fails(rows_of(loader), MOCO_ESHAPE));
    CHECK(fails(moco::dataset::try_from_images(context, -1, owned), MOCO_EINVAL));
    CHECK(fails(moco::loader::try_create(moco::dataset(), loading), MOCO_EINVAL));
}

/* ---- networks ---- */

static void models(const moco::context &context, const moco::device &device)
{
    moco::model model = MUST(moco::model::try_create(device, small_network()));
    moco::model_info info = MUST(model.try_describe());
    CHECK(info.dim == 8 && info.feature_dim == 64 && model.tensor_name(0) == std::string("conv1.weight"));
    CHECK(fails(model.try_recipe(), MOCO_ENOTFOUND));
    moco::augment_options recipe = MUST(moco::augment_options::try_preset("eval", SIDE));
    CHECK(model.try_set_recipe(recipe) && MUST(model.try_recipe()).size == SIDE);
    CHECK(fails(model.try_set_recipe(MUST(moco::augment_options::try_preset("moco-v2", SIDE))), MOCO_EINVAL));
    moco::array<float> weight = MUST(model.try_get<float>("conv1.weight"));
    CHECK(weight.shape().ndim() == 4 && weight.shape()[0] == 8 && weight.shape()[1] == 3);
    weight[0] = 0.5f;
    CHECK(model.try_set("conv1.weight", weight) && MUST(model.try_get<double>("conv1.weight"))[0] == 0.5);
    CHECK(fails(model.try_get<float>("nobody"), MOCO_ENOTFOUND) &&
          fails(model.try_set("conv1.weight", moco::array<float>({2})), MOCO_ESHAPE));
    CHECK(model.try_get("conv1.weight", weight));
    moco::array<uint8_t> images({2, SIDE, SIDE, 3});
    CHECK(MUST(model.try_embed(images)).shape()[1] == 64 &&
          MUST(model.try_embed(images, MOCO_PROJECTION)).shape()[1] == 8);
    CHECK(fails(model.try_embed(images, MOCO_LAYER1), MOCO_EINVAL, "feature map"));
    moco::array<float> map({2, 64, 1, 1}), wrong_map({2, 3});
    CHECK(model.try_embed(images, MOCO_LAYER4, map) &&
          fails(model.try_embed(images, MOCO_LAYER4, wrong_map), MOCO_ESHAPE));

    std::string file = folder("model.safetensors");
    CHECK(model.try_save(file) && model.try_load(file) && MUST(moco::model::try_open(device, file)));
    CHECK(fails(model.try_save(folder("none/x")), MOCO_EIO) && fails(model.try_load(folder("none")), MOCO_EIO));
    CHECK(fails(moco::model::try_open(device, folder("none")), MOCO_EIO));
    moco::model_options no_network = small_network();
    no_network.arch = "vgg";
    CHECK(fails(moco::model::try_create(device, no_network), MOCO_EINVAL, "vgg"));
    moco::export_options with_head;
    with_head.head = 1;
    CHECK(model.try_export_to(folder("model.pth"), with_head) &&
          fails(model.try_export_to(folder("x.doc")), MOCO_EINVAL));

    moco::weights weights = MUST(moco::weights::try_open(context, folder("model.pth")));
    CHECK(weights.format() == std::string("torch-zip") && weights.count() > 60 && weights.note(1000) == nullptr);
    int64_t index = MUST(weights.try_find("conv1.weight"));
    CHECK(MUST(weights.try_at(index)).ndim == 4 && MUST(weights.try_read<float>(index))[0] == 0.5f);
    CHECK(fails(weights.try_at(-1), MOCO_ENOTFOUND) || fails(weights.try_at(-1), MOCO_EINVAL));
    CHECK(fails(weights.try_find("nobody"), MOCO_ENOTFOUND) && fails(weights.try_read<float>(9999), MOCO_ENOTFOUND));
    CHECK(fails(weights.try_text_of("nobody"), MOCO_ENOTFOUND) && weights.key(1000) == nullptr);
    CHECK(MUST(weights.try_candidate(0)).prefix == std::string() && fails(weights.try_candidate(1), MOCO_ENOTFOUND));
    CHECK(weights.try_save(folder("again.safetensors")) && fails(weights.try_save(folder("again.doc")), MOCO_EINVAL));
    moco::weights native = MUST(moco::weights::try_open(context, file));
    CHECK(native.key(0) != nullptr && !MUST(native.try_text_of(native.key(0))).empty());
    CHECK(fails(moco::weights::try_open(context, folder("list.txt")), MOCO_EFORMAT));
    moco::import_options import;
    import.stem = "small";
    import.image_size = SIDE;
    moco::import_report report;
    int lines = 0;
    moco::model imported =
        MUST(moco::model::try_import_from(device, weights, import, report, [&](int32_t, const char *) { lines++; }));
    CHECK(lines > 60 && report.count[MOCO_IMPORT_USED] > 60 &&
          MUST(imported.try_get<float>("conv1.weight"))[0] == 0.5f);
    CHECK(fails(moco::model::try_import_from(device, weights), MOCO_EINVAL, "stem"));

    moco::model gone = std::move(model);
    CHECK(fails(model.try_describe(), MOCO_EINVAL) && fails(model.try_save(file), MOCO_EINVAL) &&
          fails(model.try_recipe(), MOCO_EINVAL));
    CHECK(fails(model.try_embed(images), MOCO_EINVAL) && fails(model.try_get<float>("x"), MOCO_EINVAL) &&
          model.tensor_name(0) == nullptr);
    moco::weights no_weights = std::move(weights);
    CHECK(weights.count() == 0 && fails(weights.try_find("x"), MOCO_EINVAL) &&
          fails(moco::model::try_import_from(device, weights), MOCO_EINVAL));
}

static void training(const moco::context &context, const moco::device &device)
{
    moco::model model = MUST(moco::model::try_create(device, small_network()));
    moco::queue queue = MUST(moco::queue::try_create(device, 8, 2 * BATCH, 3));
    CHECK(fails(moco::queue::try_create(device, 0, 8), MOCO_EINVAL));
    moco::array<float> keys({BATCH, 8}), all({8, 2 * BATCH});
    keys[0] = 1;
    CHECK(queue.try_push(keys) && queue.try_keys(all) && all[0] == 1 && MUST(queue.try_state()).filled == BATCH);
    CHECK(fails(queue.try_push(all), MOCO_ESHAPE) && fails(queue.try_keys(keys), MOCO_ESHAPE));

    moco::augment_options recipe = MUST(moco::augment_options::try_preset("moco-v2", SIDE));
    moco::dataset set = MUST(moco::dataset::try_from_encoded(context, PICTURES, [](int64_t id) { return jpeg(id); }));
    moco::loader loader = MUST(moco::loader::try_create(set, small_loading(&recipe, &recipe)));
    auto launches = std::make_shared<int>(0);
    auto stop = std::make_shared<bool>(false);
    moco::trainer trainer =
        MUST(moco::trainer::try_create(model, queue, small_training(), [launches, stop](int, int of) {
            *launches += of > 0;
            return !*stop;
        }));
    CHECK(fails(moco::trainer::try_create(model, queue, small_training()), MOCO_ESTATE));
    CHECK(fails(trainer.try_report(), MOCO_ESTATE) && MUST(trainer.try_cursor()).step == 0);
    CHECK(loader.try_start_keys(0, 0, 0, 0, false) && loader.try_start(0));
    moco::batch batch;
    CHECK(MUST(loader.try_next(batch)) && trainer.try_step(batch, 0.05) && *launches > 1);
    moco::step_report report = MUST(trainer.try_report());
    CHECK(trainer.try_wait() && report.step == 1 && report.loss > 0 && report.lr == 0.05 &&
          MUST(trainer.try_cursor()).position == BATCH);
    *stop = true;
    CHECK(MUST(loader.try_next(batch)) && fails(trainer.try_step(batch, 0.05), MOCO_ECANCELED));
    *stop = false;
    CHECK(trainer.try_step(batch, 0.05));
    trainer.cancel();
    CHECK(fails(trainer.try_step(batch, 0.05), MOCO_ECANCELED) && MUST(trainer.try_report()).step == 2);
    CHECK(trainer.leave(MOCO_EEND, "nothing left").status() == MOCO_EEND);
    CHECK(std::strstr(trainer.leave(MOCO_EIO, "the disk").what(), "the disk") != nullptr);

    CHECK(MUST(trainer.try_get<double>("queue")).shape()[1] == 2 * BATCH && trainer.tensor_name(0) != nullptr);
    CHECK(trainer.try_get("queue", all) && trainer.try_set("queue", all) &&
          fails(trainer.try_set("nobody", all), MOCO_ENOTFOUND));
    CHECK(fails(trainer.try_get<float>("nobody"), MOCO_ENOTFOUND));
    std::string file = folder("state.safetensors"), note(3000, 'n');
    CHECK(trainer.try_save(file, note.c_str()) && trainer.try_load(file) &&
          fails(trainer.try_load(folder("none")), MOCO_EIO));
    moco::checkpoint described = MUST(moco::checkpoint::try_describe(context, file));
    CHECK(described.note == note && described.queue_length == 2 * BATCH && described.model.dim == 8 &&
          described.trainer.batch_size == BATCH);
    CHECK(fails(moco::checkpoint::try_describe(context, folder("list.txt")), MOCO_EFORMAT));
    CHECK(trainer.try_export_to(folder("moco.pth.tar")) && fails(trainer.try_export_to(folder("x.doc")), MOCO_EINVAL));
    moco::weights weights = MUST(moco::weights::try_open(context, folder("moco.pth.tar")));
    moco::import_report imported;
    int lines = 0;
    CHECK(trainer.try_import_from(weights, imported, [&](int32_t, const char *) { lines++; }) && lines > 60 &&
          trainer.try_import_from(weights));
    CHECK(MUST(moco::trainer::try_estimate(device, small_network(), 64, small_training())).total_bytes > 0);
    moco::trainer_options no_batch = small_training();
    no_batch.batch_size = -1;
    CHECK(fails(moco::trainer::try_estimate(device, small_network(), 64, no_batch), MOCO_EINVAL));

    /* A queue as a bank, once of kNN and once of a search. */
    moco::bank bank = MUST(moco::bank::try_create(device, 8));
    moco::knn knn = MUST(moco::knn::try_create(device, 8, 3, 0.1));
    std::vector<int64_t> ids(2 * BATCH, 7);
    std::vector<int32_t> labels(2 * BATCH, 7);
    CHECK(bank.try_append_queue(queue, ids) && knn.try_add_queue(queue, labels));
    CHECK(MUST(bank.try_search(keys, 1)).ids[0] == 7 && fails(bank.try_append_queue(queue, {}), MOCO_ESHAPE, "ids"));
    labels.pop_back();
    CHECK(fails(knn.try_add_queue(queue, labels), MOCO_ESHAPE, "labels") &&
          fails(knn.try_add_queue(moco::queue(), labels), MOCO_EINVAL));

    moco::trainer moved = std::move(trainer);
    CHECK(moved.try_step(batch, 0.05) && fails(trainer.try_step(batch, 0.05), MOCO_EINVAL) &&
          fails(trainer.try_report(), MOCO_EINVAL) && fails(trainer.try_wait(), MOCO_EINVAL));
    CHECK(fails(trainer.try_save(file), MOCO_EINVAL) && trainer.leave(MOCO_EEND).status() == MOCO_EINVAL);
    trainer.cancel();
    moved = moco::trainer();
    CHECK(launches.use_count() == 1 && fails(moved.try_cursor(), MOCO_EINVAL));
    moco::queue no_queue = std::move(queue);
    CHECK(fails(queue.try_state(), MOCO_EINVAL) && fails(queue.try_push(keys), MOCO_EINVAL));
}

static void ranks(const moco::context &context)
{
    std::vector<moco::comm> comms = MUST(moco::comm::try_local(context, 2));
    CHECK(fails(moco::comm::try_local(context, 0), MOCO_EINVAL) && MUST(comms[1].try_describe()).rank == 1);
    int blocks[2][2] = {{5, 0}, {0, 6}};
    std::thread other([&] { CHECK(comms[1].try_gather(blocks[1], sizeof(int))); });
    CHECK(comms[0].try_gather(blocks[0], sizeof(int)));
    other.join();
    CHECK(blocks[0][1] == 6 && blocks[1][0] == 5);
    CHECK(fails(comms[0].try_abort(75, 1.0), MOCO_ENOTSUP)); /* threads of one process */
    comms[0].cancel();
    CHECK(fails(comms[0].try_gather(blocks[0], sizeof(int)), MOCO_ECOMM));
    CHECK(fails(moco::comm::try_from_engine(context, moco::comm_engine()), MOCO_EINVAL));
    CHECK(fails(moco::comm::try_from_module(context, moco_comm_module()), MOCO_ENODEV)); /* of contract 0 */
    CHECK(fails(moco::comm::try_open(context, "no_such_module"), MOCO_ENODEV));
    moco::device ref = MUST(moco::device::try_open(context, "ref"));
    CHECK(fails(moco::comm::try_make_id(ref), MOCO_ENOTSUP));
    CHECK(fails(moco::comm::try_from_id(ref, 0, 2, moco::comm_id()), MOCO_EINVAL)); /* all zeros */
    moco::comm gone = std::move(comms[0]);
    CHECK(fails(comms[0].try_describe(), MOCO_EINVAL));
}

/* ---- what is done with vectors ---- */

static void encoders(const moco::device &device)
{
    moco::model model = MUST(moco::model::try_create(device, small_network()));
    moco::encoder_options options;
    options.workspaces = 2;
    moco::encoder bare = MUST(moco::encoder::try_create(model, options));
    std::vector<std::string> blobs = {jpeg(0), "no picture", jpeg(2)},
                             files = {folder("set/a/0.jpg"), folder("none.jpg")};
    CHECK(fails(bare.try_recipe(), MOCO_ENOTFOUND) && fails(bare.try_embed_bytes(blobs), MOCO_ENOTFOUND));
    CHECK(model.try_set_recipe(MUST(moco::augment_options::try_preset("eval", SIDE))) &&
          model.try_save(folder("encoder")));
    moco::encoder encoder = MUST(moco::encoder::try_open(device, folder("encoder"), options));
    CHECK(MUST(encoder.try_recipe()).size == SIDE && MUST(encoder.try_describe()).most_workspaces == 2);
    CHECK(fails(moco::encoder::try_open(device, folder("none")), MOCO_EIO));
    options.workspaces = -1;
    CHECK(fails(moco::encoder::try_create(model, options), MOCO_EINVAL));
    moco::array<uint8_t> images({2, SIDE, SIDE, 3});
    moco::array<float> rows({2, 64});
    CHECK(encoder.try_reserve(2, images) && fails(encoder.try_reserve(9, images), MOCO_EINVAL));
    CHECK(encoder.try_embed(images, MOCO_FEATURES, rows) && MUST(encoder.try_embed(images))[0] == rows[0]);
    CHECK(fails(encoder.try_embed(rows), MOCO_ESHAPE));

    moco::embedded of_bytes = MUST(encoder.try_embed_bytes(blobs));
    CHECK(of_bytes.statuses[0] == MOCO_OK && of_bytes.statuses[1] == MOCO_EFORMAT && of_bytes.statuses[2] == MOCO_OK);
    CHECK(std::isnan(of_bytes.vectors.row(1)[0]) && !std::isnan(of_bytes.vectors.row(2)[0]));
    moco::embedded of_files = MUST(encoder.try_embed_files(files, MOCO_PROJECTION));
    CHECK(of_files.statuses[1] == MOCO_EIO && of_files.vectors.shape()[1] == 8 && !std::isnan(of_files.vectors[0]));
    std::string told;
    moco::bad_pictures bad([&](int64_t, const char *path, const char *) { told += path; });
    CHECK(encoder.try_embed_files(files, MOCO_FEATURES, bad.options()) && bad.try_rethrow() && told == files[1]);
    std::vector<moco_status> statuses(1);
    CHECK(fails(encoder.try_embed_files(files, MOCO_FEATURES, rows, statuses), MOCO_ESHAPE, "statuses"));
    CHECK(fails(encoder.try_embed_bytes(blobs, MOCO_FEATURES, rows, statuses), MOCO_ESHAPE, "statuses"));
    encoder.cancel();
    moco::encoder gone = std::move(encoder);
    encoder.cancel();
    CHECK(fails(encoder.try_embed(images), MOCO_EINVAL) && fails(encoder.try_describe(), MOCO_EINVAL) &&
          fails(encoder.try_reserve(1, images), MOCO_EINVAL));
    CHECK(fails(encoder.try_embed_files(files), MOCO_EINVAL) && fails(encoder.try_recipe(), MOCO_EINVAL));
}

static void banks(const moco::device &device)
{
    moco::bank bank = MUST(moco::bank::try_create(device, 2));
    std::vector<float> rows = {1, 0, 0, 2, 3, 3};
    moco::view<const float> table(rows, {3, 2});
    CHECK(fails(bank.try_search(table, 1), MOCO_ESTATE) && bank.try_append(table) &&
          bank.try_append(table, std::vector<int64_t>{10, 11, 12}));
    CHECK(MUST(bank.try_describe()).count == 6 && MUST(bank.try_describe()).dim == 2);
    moco::neighbours near = MUST(bank.try_search(table, 2));
    CHECK(near.ids.row(1)[0] == 1 && near.ids.row(1)[1] == 11 && std::fabs(near.cosines.row(2)[0] - 1) < 1e-6);
    CHECK(fails(bank.try_append(table, std::vector<int64_t>{1}), MOCO_ESHAPE, "ids") &&
          fails(bank.try_search(table, -1), MOCO_EINVAL));
    CHECK(fails(bank.try_append(moco::view<const float>(rows, {4, 2})), MOCO_ESHAPE) &&
          fails(bank.try_search(table, 1 << 30), MOCO_EINVAL));
    CHECK(bank.try_save(folder("bank")) &&
          MUST(MUST(moco::bank::try_open(device, folder("bank"), true)).try_describe()).count == 6);
    CHECK(fails(moco::bank::try_open(device, folder("none")), MOCO_EIO) &&
          fails(bank.try_save(folder("none/x")), MOCO_EIO));
    CHECK(fails(moco::bank::try_create(device, 0), MOCO_EINVAL));
    moco::bank gone = std::move(bank);
    CHECK(fails(bank.try_describe(), MOCO_EINVAL) && fails(bank.try_search(table, 1), MOCO_EINVAL) &&
          fails(bank.try_append(table), MOCO_EINVAL));
}

static void measures(const moco::device &device)
{
    std::vector<float> rows = {1, 0, 0.9f, 0.1f, 0, 1, 0.1f, 0.9f};
    std::vector<int32_t> labels = {0, 0, 1, 1}, few = {0};
    moco::view<const float> table(rows, {4, 2});
    moco::knn knn = MUST(moco::knn::try_create(device, 2, 1, 0.1));
    CHECK(fails(knn.try_classify(table), MOCO_ESTATE) && knn.try_add(table, labels) &&
          MUST(knn.try_classify(table)) == labels);
    CHECK(MUST(knn.try_accuracy(table, labels)) == 1 && fails(knn.try_accuracy(table, few), MOCO_ESHAPE, "labels"));
    CHECK(fails(knn.try_add(table, few), MOCO_ESHAPE) && fails(moco::knn::try_create(device, 0, 1, 1), MOCO_EINVAL));
    moco::input pairs = table;
    std::vector<double> spectrum(2);
    moco::feature_stats stats = MUST(moco::feature_stats::try_compute(device, table, &pairs, spectrum));
    CHECK(stats.n == 4 && stats.alignment == 0 && spectrum[0] > spectrum[1] && !stats.collapsed);
    CHECK(std::isnan(MUST(moco::feature_stats::try_compute(device, table)).alignment));
    spectrum.resize(1);
    CHECK(fails(moco::feature_stats::try_compute(device, table, nullptr, spectrum), MOCO_ESHAPE, "eigenvalues"));

    moco::probe_options options;
    CHECK(fails(moco::probe::try_create(device, options), MOCO_EINVAL));
    options.dim = options.classes = 2;
    options.lr[0] = 1;
    moco::probe probe = MUST(moco::probe::try_create(device, options));
    CHECK(MUST(probe.try_step(table, labels, 1)).loss[0] > 0 &&
          fails(probe.try_step(table, few, 1), MOCO_ESHAPE, "labels"));
    moco::probe_fit_options fitting;
    fitting.epochs = 5;
    int epochs = 0;
    CHECK(probe.try_fit(table, labels, fitting) &&
          probe.try_fit(table, labels, fitting, [&](int32_t, int32_t) { epochs++; }));
    CHECK(epochs == 5 && fails(probe.try_fit(table, labels, fitting, [](int32_t epoch, int32_t) { return epoch < 2; }),
                               MOCO_ECANCELED));
    CHECK(fails(probe.try_fit(table, few), MOCO_ESHAPE) &&
          fails(probe.try_fit(table, few, fitting, [](int32_t, int32_t) {}), MOCO_ESHAPE));
    moco::score score;
    std::vector<int64_t> confusion(4), too_few(3);
    CHECK(probe.try_evaluate(table, labels, score, confusion) && score.top1 == 4 && confusion[0] == 2 &&
          confusion[3] == 2);
    CHECK(fails(probe.try_evaluate(table, labels, score, too_few), MOCO_ESHAPE) &&
          fails(probe.try_evaluate(table, few, score), MOCO_ESHAPE));
    CHECK(MUST(probe.try_best(table, labels)).top1 == 4 && fails(probe.try_best(table, few), MOCO_ESHAPE));
    CHECK(MUST(probe.try_predict(0, table)) == labels && fails(probe.try_predict(7, table), MOCO_EINVAL));
    std::string note;
    CHECK(probe.try_save(folder("probe"), std::string(900, 'z').c_str()));
    moco::probe opened = MUST(moco::probe::try_open(device, folder("probe"), &note));
    CHECK(note == std::string(900, 'z') && MUST(opened.try_describe()).steps == MUST(probe.try_describe()).steps);
    CHECK(MUST(moco::probe::try_open(device, folder("probe"))) &&
          fails(moco::probe::try_open(device, folder("none")), MOCO_EIO));
    moco::probe gone = std::move(probe);
    CHECK(fails(probe.try_describe(), MOCO_EINVAL) && fails(probe.try_step(table, labels, 1), MOCO_EINVAL) &&
          fails(probe.try_save(folder("x")), MOCO_EINVAL));
    moco::knn no_knn = std::move(knn);
    CHECK(fails(knn.try_classify(table), MOCO_EINVAL));
}

int main()
{
    results();
    views();
    pure_functions();
    contexts();
    moco::context context = MUST(moco::context::try_create());
    devices(context);
    pictures(context);
    data_sets(context);
    loaders_and_lambdas(context);
    moco::device device = MUST(moco::device::try_open(context, test_device()));
    models(context, device);
    training(context, device);
    ranks(context);
    encoders(device);
    banks(device);
    measures(device);
    return all_checks(150);
}
