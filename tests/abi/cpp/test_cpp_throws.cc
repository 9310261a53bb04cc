/* SPDX-License-Identifier: MIT
 *
 * test_cpp_throws: every call of moco.hpp that throws, and what callbacks throw: it ends the call that ran them, is
 * thrown again on the other side of C as it was, and leaves nothing behind. What a reader would get wrong: a call that
 * throws is its try_ twin with .value(), which test_cpp_results has tested; here it is called once, and once in vain. */
#include "abi/cpp/cpp_rig.hpp"

#include <stdexcept>
#include <string_view>
#include <thread>

static const scratch folder;

struct stranger {
    int number;
};

/* The call throws moco::error with this status. */
template <class F> static bool throws(F &&call, moco_status status, const char *part = "")
{
    try {
        call();
    } catch (const moco::error &e) {
        if (e.status() == status && std::strstr(e.what(), part) != nullptr)
            return true;
        std::printf("%s: %s\n", moco::status_text(e.status()), e.what());
    }
    return false;
}
#define THROWS(call, ...) CHECK(throws([&] { (void)(call); }, __VA_ARGS__))

/* The call throws what a callback threw. */
template <class F> static bool throws_stranger(F &&call, int number)
{
    try {
        call();
    } catch (const stranger &s) {
        return s.number == number;
    }
    return false;
}
#define STRANGER(call, number) CHECK(throws_stranger([&] { (void)(call); }, number))

static void values()
{
    moco::result<int> good = 3, bad = moco::error(MOCO_EIO, "the disk");
    const moco::result<int> steady = 4;
    CHECK(std::move(good).value() == 3 && steady.value() == 4);
    THROWS(std::move(bad).value(), MOCO_EIO, "the disk");
    THROWS(moco::result<void>(moco::error(MOCO_EINVAL, "")).value(), MOCO_EINVAL);
    moco::result<void>().value();
    try {
        throw moco::error(MOCO_ENOMEM, "none left");
    } catch (const std::exception &e) { /* as any other */
        CHECK(std::string(e.what()) == "none left");
    }
    THROWS(moco::preset::find("x"), MOCO_ENOTFOUND);
    CHECK(moco::preset::find("demo").queue_length > 0);
    CHECK(moco::model_options::preset("demo").dim > 0 && moco::trainer_options::preset("demo").batch_size > 0);
    THROWS(moco::model_options::preset("x"), MOCO_ENOTFOUND);
    THROWS(moco::trainer_options::preset("x"), MOCO_ENOTFOUND);
    THROWS(moco::augment_options::preset("x", 8), MOCO_ENOTFOUND);
    CHECK(moco::shuffle_permutation(1, 2, 0, 4).size() == 4 && moco::epoch_permutation(1, 0, 1, 0) == 0);
    THROWS(moco::shuffle_permutation(1, 2, 0, 0), MOCO_EINVAL);
    THROWS(moco::epoch_permutation(1, 0, 0, 0), MOCO_EINVAL);
}

static void contexts_and_devices()
{
    int lines = 0;
    moco::context context = moco::context::create({}, [&](int, const char *) {
        lines++;
        throw stranger{1}; /* lost: nobody could take it */
    });
    moco::device device = moco::device::open(context, test_device());
    CHECK(context.memory().live_bytes > 0 && *device.describe().name != 0);
    device.memory();
    moco::knn knn = moco::knn::create(device, 2, 5, 1);
    std::vector<float> row = {1, 0};
    knn.add(moco::view<float>(row, {1, 2}), std::vector<int32_t>{4});
    CHECK(knn.classify(moco::view<float>(row, {1, 2}))[0] == 4 && lines == 1);
    THROWS(moco::device::open(context, "no-such"), MOCO_ENODEV, "no-such");
    THROWS(moco::context().memory(), MOCO_EINVAL);
    moco::context_options options;
    options.threads = -1;
    THROWS(moco::context::create(options), MOCO_EINVAL);
}

/* ---- data ---- */

static void pictures(const moco::context &context)
{
    std::string bytes = jpeg(1);
    scratch_write(&folder, "one.jpg", bytes.data(), bytes.size());
    moco::image image = moco::image::decode(context, bytes);
    CHECK(moco::image::read(context, folder("one.jpg")).pixels().rows() == image.pixels().rows());
    THROWS(moco::image::read(context, folder("none")), MOCO_EIO);
    THROWS(moco::image::decode(context, std::string("no")), MOCO_EFORMAT);
    moco::augment augment = moco::augment::create(context, moco::augment_options::preset("moco-v2", SIDE));
    moco::array<uint8_t> view({SIDE, SIDE, 3}), wrong_size({2, 2, 3});
    moco::view_params params = augment.draw(SIDE + 4, SIDE + 4, 1, 0, 0, 0);
    augment.apply(image.pixels(), params, view);
    THROWS(augment.apply(image.pixels(), params, wrong_size), MOCO_ESHAPE);
    THROWS(augment.draw(-1, 0, 1, 0, 0, 0), MOCO_EINVAL);
    THROWS(moco::augment::create(moco::context(), moco::augment_options()), MOCO_EINVAL);
}

static void data_sets(const moco::context &context)
{
    for (int i = 0; i < 4; i++) {
        std::string bytes = i < 3 ? jpeg(i) : "no picture";
        scratch_write(&folder, ("set/" + std::to_string(i % 2) + "/" + std::to_string(i) + ".jpg").c_str(),
                      bytes.data(), bytes.size());
    }
    moco::dataset all = moco::dataset::open_folder(context, folder("set"));
    moco::dataset one = moco::dataset::open_folder(
        context, folder("set"), [](const char *path) { return std::string_view(path).back() == '1'; });
    CHECK(all.count() == 4 && one.count() == 2 && !all.path(0).empty() && all.verify(0, 4) == 1);
    CHECK(moco::dataset::join(all, one).count() == 6 && moco::dataset::match_classes(all, one).count() == 2);
    THROWS(all.save_index(folder("index")), MOCO_ENOTSUP);
    THROWS(moco::dataset::open_index(context, folder("set/0/0.jpg")), MOCO_EFORMAT);
    STRANGER(moco::dataset::open_folder(context, folder("set"), [](const char *) -> bool { throw stranger{2}; }), 2);
    STRANGER(all.verify(0, 4, [](int64_t, const char *, const char *) { throw stranger{3}; }), 3);
    THROWS(all.verify(0, 4, [](int64_t, const char *, const char *) { return false; }), MOCO_ECANCELED);
    /* Without exceptions on the caller's side: the same as a result. */
    auto told = all.try_verify(0, 4, [](int64_t, const char *, const char *) { throw std::runtime_error("enough"); });
    CHECK(told.status() == MOCO_ECANCELED && told.error().what() == std::string("enough") && told.error().cause());
    std::string list = "set/0/0.jpg\n", record(3073, 1);
    scratch_write(&folder, "list.txt", list.data(), list.size());
    scratch_write(&folder, "batch.bin", record.data(), record.size());
    std::vector<std::string> of_list = {folder("list.txt")};
    CHECK(moco::dataset::open_list(context, of_list[0]).count() == 1);
    CHECK(moco::dataset::open_cifar10(context, std::vector<std::string>{folder("batch.bin")}).count() == 1);
    THROWS(moco::dataset::open_cifar10(context, of_list), MOCO_EFORMAT);
    THROWS(moco::dataset::open_tar(context, of_list), MOCO_EFORMAT);
    THROWS(moco::dataset::open_list(context, "/none"), MOCO_EIO);
    THROWS(moco::dataset::open_folder(context, "/none"), MOCO_EIO);
    moco::array<uint8_t> images({2, 4, 4, 3});
    CHECK(moco::dataset::from_memory(context, images).count() == 2);
    THROWS(moco::dataset::from_memory(context, images, std::vector<int32_t>{1}), MOCO_ESHAPE);
    THROWS(moco::dataset::join(all, moco::dataset()), MOCO_EINVAL);
    THROWS(moco::dataset::match_classes(all, moco::dataset()), MOCO_EINVAL);
    THROWS(all.path(-1), MOCO_EINVAL);
}

static int64_t rows_of(moco::loader &loader)
{
    int64_t rows = 0;
    moco::batch batch;
    loader.start(0);
    while (loader.next(batch))
        rows += batch.n;
    return rows;
}

/* What a source throws: that a picture is bad, that there is no more memory, or anything. */
static void sources(const moco::context &context)
{
    moco::augment_options recipe = moco::augment_options::preset("eval", SIDE);
    moco::loader_options loading = small_loading(&recipe, nullptr);
    loading.bad = MOCO_BAD_SKIP;
    auto guard = std::make_shared<int>(0);
    auto bad_ones = [guard](int64_t id) {
        if (id == 3)
            throw moco::error(MOCO_EFORMAT, "the row is empty");
        return jpeg(id);
    };
    moco::dataset set = moco::dataset::from_encoded(context, PICTURES, bad_ones);
    moco::loader loader = moco::loader::create(set, loading);
    CHECK(rows_of(loader) == PICTURES - 1 && loader.stats().bad_images == 1);
    std::string why;
    loader.bad_images([&](int64_t, const char *, const char *reason) { why = reason; });
    CHECK(why.find("the row is empty") != std::string::npos);
    STRANGER(loader.bad_images([](int64_t, const char *, const char *) { throw stranger{4}; }), 4);
    loader.start_at(0, 0);
    THROWS(loader.start_keys(0, 0, 0, 1, false), MOCO_EINVAL);
    THROWS(loader.start(-1), MOCO_EINVAL);
    loader = moco::loader();
    set = moco::dataset();
    CHECK(guard.use_count() == 2); /* ours, and that of `bad_ones` */
    auto no_memory = [](int64_t) -> std::string { throw std::bad_alloc(); };
    loader = moco::loader::create(moco::dataset::from_encoded(context, PICTURES, no_memory), loading);
    THROWS(rows_of(loader), MOCO_ENOMEM);
    auto lost = [](int64_t) -> std::string { throw std::runtime_error("connection lost"); };
    loader = moco::loader::create(moco::dataset::from_encoded(context, PICTURES, lost), loading);
    THROWS(rows_of(loader), MOCO_EIO, "connection lost");
    auto unknown = [](int64_t) -> moco::array<uint8_t> { throw stranger{5}; };
    loader = moco::loader::create(moco::dataset::from_images(context, PICTURES, unknown), loading);
    THROWS(rows_of(loader), MOCO_EIO);
    auto bad_label = [](int64_t) -> int32_t { throw stranger{6}; };
    CHECK(moco::dataset::from_images(
              context, 4, [](int64_t id) { return drawn(id); }, 2, bad_label)
              .label(1) == -1);
    THROWS(moco::dataset::from_encoded(context, -1, lost), MOCO_EINVAL);
    THROWS(moco::dataset::from_images(context, -1, unknown), MOCO_EINVAL);
    THROWS(moco::loader::create(moco::dataset(), loading), MOCO_EINVAL);
    THROWS(moco::loader().stats(), MOCO_EINVAL);
}

/* ---- training ---- */

static void training(const moco::context &context, const moco::device &device)
{
    moco::model model = moco::model::create(device, small_network());
    moco::queue queue = moco::queue::create(device, 8, 2 * BATCH);
    moco::augment_options recipe = moco::augment_options::preset("moco-v2", SIDE);
    moco::dataset set = moco::dataset::from_encoded(context, PICTURES, [](int64_t id) { return jpeg(id); });
    moco::loader loader = moco::loader::create(set, small_loading(&recipe, &recipe));
    bool angry = false;
    moco::trainer trainer = moco::trainer::create(model, queue, small_training(), [&](int done, int) {
        if (angry && done == 2)
            throw stranger{7};
    });
    moco::batch batch;
    loader.start(0);
    loader.next(batch);
    angry = true;
    STRANGER(trainer.step(batch, 0.05), 7);
    THROWS(trainer.report(), MOCO_ESTATE);
    moco::result<void> failed = trainer.try_step(batch, 0.05);
    CHECK(failed.status() == MOCO_ECANCELED && failed.error().cause());
    angry = false;
    trainer.step(batch, 0.05); /* nothing is left of it */
    trainer.wait();            // nothing is in flight
    CHECK(trainer.report().step == 1 && trainer.cursor().step == 1);
    trainer.cancel();
    THROWS(trainer.step(batch, 0.05), MOCO_ECANCELED);
    THROWS(moco::trainer::create(model, queue, small_training()), MOCO_ESTATE);
    THROWS(moco::trainer::create(model, queue, small_training(), [](int, int) {}), MOCO_ESTATE);

    moco::array<double> keys = trainer.get<double>("queue");
    trainer.set("queue", keys);
    trainer.get("queue", keys);
    THROWS(trainer.get<float>("x"), MOCO_ENOTFOUND);
    THROWS(trainer.get("x", keys), MOCO_ENOTFOUND);
    THROWS(trainer.set("x", keys), MOCO_ENOTFOUND);
    std::string file = folder("state"), theirs = folder("moco.pth.tar");
    trainer.save(file, "a note");
    trainer.load(file);
    trainer.export_to(theirs);
    CHECK(moco::checkpoint::describe(context, file).note == "a note");
    moco::weights weights = moco::weights::open(context, theirs);
    moco::import_report report;
    int lines = 0;
    trainer.import_from(weights, report, [&](int32_t, const char *) { lines++; });
    trainer.import_from(weights);
    CHECK(lines > 60);
    STRANGER(trainer.import_from(weights, report, [](int32_t, const char *) { throw stranger{8}; }), 8);
    CHECK(moco::trainer::estimate(device, small_network(), 64, small_training()).total_bytes > 0);
    THROWS(moco::trainer::estimate(moco::device(), small_network(), 64, small_training()), MOCO_EINVAL);
    THROWS(trainer.save("/none/x"), MOCO_EIO);
    THROWS(trainer.load("/none/x"), MOCO_EIO);
    THROWS(trainer.export_to("/none/x.doc"), MOCO_EINVAL);
    THROWS(moco::checkpoint::describe(context, "/none/x"), MOCO_EIO);
    THROWS(moco::trainer().import_from(weights), MOCO_EINVAL);
    THROWS(moco::trainer().cursor(), MOCO_EINVAL);

    moco::array<float> some({2, 8}), all({8, 2 * BATCH});
    some[0] = some[9] = 1;
    queue.push(some);
    queue.keys(all);
    CHECK(queue.state().length == 2 * BATCH);
    THROWS(queue.push(all), MOCO_ESHAPE);
    THROWS(queue.keys(some), MOCO_ESHAPE);
    THROWS(moco::queue().state(), MOCO_EINVAL);
    THROWS(moco::queue::create(device, 0, 1), MOCO_EINVAL);
    moco::bank bank = moco::bank::create(device, 8);
    bank.append_queue(queue, std::vector<int64_t>(2 * BATCH, 1));
    moco::knn knn = moco::knn::create(device, 8, 1, 1);
    knn.add_queue(queue, std::vector<int32_t>(2 * BATCH, 1));
    CHECK(knn.accuracy(some, std::vector<int32_t>{1, 1}) == 1);
    THROWS(bank.append_queue(queue, {}), MOCO_ESHAPE);
    THROWS(knn.add_queue(queue, {}), MOCO_ESHAPE);
}

static void ranks(const moco::context &context)
{
    std::vector<moco::comm> comms = moco::comm::local(context, 1);
    int block = 3;
    comms[0].gather(&block, sizeof block);
    CHECK(comms[0].describe().ranks == 1);
    THROWS(moco::comm::local(context, -1), MOCO_EINVAL);
    THROWS(moco::comm::from_engine(context, moco::comm_engine()), MOCO_EINVAL);
    THROWS(moco::comm::from_module(context, moco_comm_module()), MOCO_ENODEV);
    THROWS(moco::comm::open(context, "no_such_module"), MOCO_ENODEV);
    moco::device ref = moco::device::open(context, "ref");
    THROWS(moco::comm::make_id(ref), MOCO_ENOTSUP);
    THROWS(moco::comm::from_id(ref, 0, 2, moco::comm_id()), MOCO_EINVAL);
    THROWS(moco::comm().gather(&block, sizeof block), MOCO_EINVAL);
    THROWS(moco::comm().describe(), MOCO_EINVAL);
    THROWS(comms[0].abort(75, 1.0), MOCO_ENOTSUP); /* threads of one process */
}

/* ---- models and what they are used for ---- */

static void models(const moco::context &context, const moco::device &device)
{
    moco::model model = moco::model::create(device, small_network());
    moco::array<float> weight = model.get<float>("conv1.weight");
    model.set("conv1.weight", weight);
    model.get("conv1.weight", weight);
    model.set_recipe(moco::augment_options::preset("eval", SIDE));
    moco::array<uint8_t> images({2, SIDE, SIDE, 3});
    moco::array<float> rows({2, 8});
    model.embed(images, MOCO_PROJECTION, rows);
    CHECK(model.describe().dim == 8 && model.recipe().size == SIDE &&
          model.embed(images, MOCO_PROJECTION)[3] == rows[3]);
    std::string file = folder("model"), pth = folder("model.pth");
    model.save(file);
    model.load(file);
    model.export_to(pth);
    CHECK(moco::model::open(device, file).describe().feature_dim == 64);
    THROWS(model.embed(images, MOCO_LAYER1), MOCO_EINVAL);
    THROWS(model.embed(images, MOCO_FEATURES, rows), MOCO_ESHAPE);
    THROWS(model.get<float>("x"), MOCO_ENOTFOUND);
    THROWS(model.get("x", rows), MOCO_ENOTFOUND);
    THROWS(model.set("x", rows), MOCO_ENOTFOUND);
    THROWS(model.load(pth), MOCO_EFORMAT);
    THROWS(model.save("/none/x"), MOCO_EIO);
    THROWS(model.export_to("x.doc"), MOCO_EINVAL);
    THROWS(model.set_recipe(moco::augment_options::preset("moco-v2", SIDE)), MOCO_EINVAL);
    THROWS(moco::model().describe(), MOCO_EINVAL);
    THROWS(moco::model().recipe(), MOCO_EINVAL);
    THROWS(moco::model::open(device, "/none"), MOCO_EIO);
    THROWS(moco::model::create(moco::device(), small_network()), MOCO_EINVAL);

    moco::weights weights = moco::weights::open(context, pth);
    int64_t index = weights.find("conv1.weight");
    CHECK(weights.at(index).ndim == 4 && weights.read<float>(index)[1] == weight[1] && weights.candidate(0).which >= 0);
    weights.read(index, weight);
    weights.save(folder("copy.safetensors"));
    moco::weights own = moco::weights::open(context, file);
    CHECK(!own.text_of(own.key(0)).empty());
    moco::import_options options;
    options.stem = "small";
    moco::import_report report;
    CHECK(moco::model::import_from(device, weights, options).describe().feature_dim == 64);
    STRANGER(
        moco::model::import_from(device, weights, options, report, [](int32_t, const char *) { throw stranger{9}; }),
        9);
    THROWS(moco::model::import_from(device, weights), MOCO_EINVAL);
    THROWS(weights.find("x"), MOCO_ENOTFOUND);
    THROWS(weights.at(1 << 20), MOCO_ENOTFOUND);
    THROWS(weights.read<float>(1 << 20), MOCO_ENOTFOUND);
    THROWS(weights.read(index, rows), MOCO_ESHAPE);
    THROWS(weights.text_of("x"), MOCO_ENOTFOUND);
    THROWS(weights.candidate(9), MOCO_ENOTFOUND);
    THROWS(weights.save("x.doc"), MOCO_EINVAL);
    THROWS(moco::weights::open(context, "/none"), MOCO_EIO);
}

static void encoders(const moco::device &device)
{
    moco::encoder encoder = moco::encoder::open(device, folder("model"));
    moco::encoder of_model = moco::encoder::create(moco::model::open(device, folder("model")));
    moco::array<uint8_t> images({2, SIDE, SIDE, 3});
    moco::array<float> rows({2, 8});
    encoder.reserve(1, images);
    encoder.embed(images, MOCO_PROJECTION, rows);
    CHECK(of_model.embed(images, MOCO_PROJECTION)[5] == rows[5] && encoder.recipe().size == SIDE);
    CHECK(encoder.describe().dim == 8);
    std::vector<std::string> blobs = {jpeg(0), "no"}, files = {folder("one.jpg"), "/none"};
    std::vector<moco_status> statuses(2);
    encoder.embed_bytes(blobs, MOCO_PROJECTION, rows, statuses);
    CHECK(statuses[1] == MOCO_EFORMAT && encoder.embed_bytes(blobs, MOCO_PROJECTION).vectors[2] == rows[2]);
    encoder.embed_files(files, MOCO_PROJECTION, rows, statuses);
    CHECK(statuses[1] == MOCO_EIO && encoder.embed_files(files).statuses == statuses);
    moco::bad_pictures bad([](int64_t, const char *, const char *) { throw stranger{10}; });
    CHECK(encoder.embed_files(files, MOCO_FEATURES, bad.options()).statuses == statuses);
    STRANGER(bad.rethrow(), 10);
    bad.rethrow();                         /* once */
    const moco::encoder &shared = encoder; /* any number of threads */
    std::vector<std::thread> threads;
    std::vector<moco::array<float>> found(4);
    for (auto &each : found)
        threads.emplace_back([&] { each = shared.embed(images); });
    for (auto &thread : threads)
        thread.join();
    for (auto &each : found)
        CHECK(each[7] == found[0][7] && each.size() == 128);
    THROWS(encoder.reserve(-1, images), MOCO_EINVAL);
    THROWS(encoder.embed(rows), MOCO_ESHAPE);
    THROWS(encoder.embed(images, MOCO_FEATURES, rows), MOCO_ESHAPE);
    THROWS(encoder.embed_bytes(blobs, MOCO_LAYER1), MOCO_EINVAL);
    THROWS(encoder.embed_bytes(blobs, MOCO_PROJECTION, rows, {}), MOCO_EFORMAT);
    THROWS(encoder.embed_files(files, MOCO_PROJECTION, rows, {}), MOCO_EFORMAT, "none");
    THROWS(moco::encoder().embed_files(files), MOCO_EINVAL);
    THROWS(moco::encoder().describe(), MOCO_EINVAL);
    THROWS(moco::encoder().recipe(), MOCO_EINVAL);
    THROWS(moco::encoder::open(device, "/none"), MOCO_EIO);
    THROWS(moco::encoder::create(moco::model()), MOCO_EINVAL);
}

static void measures(const moco::device &device)
{
    std::vector<float> numbers = {1, 0, 0.9f, 0.1f, 0, 1, 0.1f, 0.9f};
    std::vector<int32_t> labels = {0, 0, 1, 1}, few = {0};
    moco::view<const float> table(numbers, {4, 2});
    moco::bank bank = moco::bank::create(device, 2);
    bank.append(table);
    bank.save(folder("bank"));
    CHECK(moco::bank::open(device, folder("bank"), true).search(table, 1).ids[2] == 2 && bank.describe().count == 4);
    THROWS(bank.append(table, std::vector<int64_t>{1}), MOCO_ESHAPE);
    THROWS(bank.search(table, 0), MOCO_EINVAL);
    THROWS(bank.save("/none/x"), MOCO_EIO);
    THROWS(moco::bank().describe(), MOCO_EINVAL);
    THROWS(moco::bank::open(device, "/none"), MOCO_EIO);
    THROWS(moco::bank::create(device, -1), MOCO_EINVAL);
    THROWS(moco::knn().classify(table), MOCO_EINVAL);
    THROWS(moco::knn().add(table, labels), MOCO_EINVAL);
    THROWS(moco::knn().accuracy(table, labels), MOCO_EINVAL);
    THROWS(moco::knn::create(device, 2, 0, 1), MOCO_EINVAL);
    CHECK(moco::feature_stats::compute(device, table).n == 4);
    THROWS(moco::feature_stats::compute(moco::device(), table), MOCO_EINVAL);

    moco::probe_options options;
    options.dim = options.classes = 2;
    moco::probe probe = moco::probe::create(device, options);
    moco::probe_fit_options fitting;
    fitting.epochs = 3;
    CHECK(probe.step(table, labels, 1).loss[0] > 0 && probe.predict(0, table).size() == 4);
    probe.fit(table, labels, fitting);
    probe.fit(table, labels, fitting, [](int32_t, int32_t) {});
    moco::score score;
    probe.evaluate(table, labels, score);
    CHECK(score.n == 4 && probe.best(table, labels).n == 4 && probe.describe().steps == 7);
    probe.save(folder("probe"), "n");
    std::string note;
    CHECK(moco::probe::open(device, folder("probe"), &note).describe().steps == 7 && note == "n");
    STRANGER(probe.fit(table, labels, fitting, [](int32_t, int32_t) { throw stranger{11}; }), 11);
    CHECK(probe.describe().steps == 8);
    THROWS(probe.fit(table, labels, fitting, [](int32_t, int32_t) { return false; }), MOCO_ECANCELED);
    THROWS(probe.fit(table, few), MOCO_ESHAPE);
    THROWS(probe.step(table, few, 1), MOCO_ESHAPE);
    THROWS(probe.evaluate(table, few, score), MOCO_ESHAPE);
    THROWS(probe.best(table, few), MOCO_ESHAPE);
    THROWS(probe.predict(-1, table), MOCO_EINVAL);
    THROWS(probe.save("/none/x"), MOCO_EIO);
    THROWS(moco::probe().describe(), MOCO_EINVAL);
    THROWS(moco::probe::open(device, "/none"), MOCO_EIO);
    THROWS(moco::probe::create(device, moco::probe_options()), MOCO_EINVAL);
}

int main()
{
    values();
    contexts_and_devices();
    moco::context context = moco::context::create();
    pictures(context);
    data_sets(context);
    sources(context);
    moco::device device = moco::device::open(context, test_device());
    training(context, device);
    ranks(context);
    models(context, device);
    encoders(device);
    measures(device);
    return all_checks(160);
}
