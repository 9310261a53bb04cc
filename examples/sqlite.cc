/* SPDX-License-Identifier: MIT
 *
 * sqlite: an application in C++. Its pictures are JPEGs in a database, CREATE TABLE pictures (id INTEGER PRIMARY KEY, jpeg
 * BLOB). It learns an encoder from them, and finds the pictures most like one. What a reader would get wrong: `jpeg` runs
 * on the loader's threads, and one connection serves them all (SQLITE_OPEN_FULLMUTEX). */
#include <moco/moco.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sqlite3.h>

static volatile std::sig_atomic_t stopped;

struct database {
    sqlite3 *db = nullptr;
    std::vector<int64_t> ids;
    explicit database(const char *path)
    {
        check(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_FULLMUTEX, nullptr));
        auto add = [](void *all, int, char **row, char **) {
            return static_cast<std::vector<int64_t> *>(all)->push_back(std::atoll(row[0])), 0;
        };
        check(sqlite3_exec(db, "SELECT id FROM pictures ORDER BY id", add, &ids, nullptr));
    }
    ~database()
    {
        sqlite3_close(db);
    }
    std::optional<std::string> jpeg(int64_t number) const /* none: this row has no picture; others may go on */
    {
        sqlite3_blob *blob = nullptr;
        if (sqlite3_blob_open(db, "main", "pictures", "jpeg", ids[size_t(number)], 0, &blob) == SQLITE_ERROR)
            return std::nullopt;
        std::string bytes(size_t(sqlite3_blob_bytes(blob)), 0);
        int status = sqlite3_blob_read(blob, bytes.data(), int(bytes.size()), 0);
        sqlite3_blob_close(blob);
        return check(status), bytes;
    }
    void check(int status) const
    {
        if (status != SQLITE_OK) /* thrown in a loader's thread, it ends the epoch and comes out of next() */
            throw moco::error(MOCO_EIO, sqlite3_errmsg(db));
    }
};

static void train(const moco::context &context, const database &pictures, const char *file, int epochs)
{
    auto preset = moco::preset::find("demo");
    auto training = moco::trainer_options::preset(preset.name);
    auto view = moco::augment_options::preset(preset.recipe, preset.image_size);
    moco::loader_options loading;
    loading.batch_size = training.batch_size;
    loading.workers = 2;
    loading.permuted = loading.drop_last = 1;
    loading.recipe[0] = loading.recipe[1] = &view;
    auto read = [&](int64_t number) { return pictures.jpeg(number); };
    auto set = moco::dataset::from_encoded(context, int64_t(pictures.ids.size()), read);
    auto loader = moco::loader::create(set, loading);
    auto device = moco::device::open(context, "cpu");
    auto model = moco::model::create(device, moco::model_options::preset(preset.name));
    auto queue = moco::queue::create(device, model.describe().dim, preset.queue_length);
    auto trainer = moco::trainer::create(model, queue, training, [](int done, int launches) {
        std::fprintf(stderr, "\r%3d of %3d", done, launches);
        return !stopped; /* false cancels the step, which then has changed nothing */
    });
    moco::batch batch;
    int64_t step = 0;
    for (int epoch = 0; epoch < epochs && !stopped; epoch++)
        for (loader.start(epoch); !stopped && loader.next(batch);)
            if (auto done = trainer.try_step(batch, preset.rate(step++, loader.batches(), epochs)); !done && !stopped)
                done.error().raise();
    model.set_recipe(moco::augment_options::preset("eval", preset.image_size));
    model.save(file);
    std::printf("%s after %d steps\n", stopped ? "stopped" : "done", int(trainer.cursor().step));
}

static void find(const moco::context &context, const database &pictures, const char *file, int64_t id)
{
    auto device = moco::device::open(context, "cpu");
    auto encoder = moco::encoder::open(device, file);
    auto bank = moco::bank::create(device, encoder.describe().feature_dim);
    moco::array<float> asked;
    for (size_t i = 0; i < pictures.ids.size(); i++) {
        std::string jpeg = pictures.jpeg(int64_t(i)).value_or("");
        auto found = encoder.embed_bytes(std::vector<std::string>{jpeg}); /* vectors [1, dim], and a status for each */
        if (found.statuses[0] != MOCO_OK)
            continue;
        bank.append(found.vectors, moco::view<const int64_t>(&pictures.ids[i], {1}));
        if (pictures.ids[i] == id)
            asked = found.vectors;
    }
    if (asked.size() == 0)
        throw moco::error(MOCO_ENOTFOUND, "no picture that can be read has this id");
    auto near = bank.search(asked, 6);
    for (size_t i = 0; i < near.ids.size() && near.ids[i] >= 0; i++)
        std::printf("%.4f %lld\n", double(near.cosines[i]), static_cast<long long>(near.ids[i]));
}

int main(int argc, char **argv)
try {
    std::signal(SIGINT, [](int) { stopped = 1; });
    auto context = moco::context::create({}, [](int, const char *line) { std::fprintf(stderr, "%s\n", line); });
    if (argc == 5 && argv[3] == std::string("train"))
        train(context, database(argv[1]), argv[2], std::atoi(argv[4]));
    else if (argc == 5 && argv[3] == std::string("near"))
        find(context, database(argv[1]), argv[2], std::atoll(argv[4]));
    else
        throw moco::error(MOCO_EINVAL,
                          "Usage: sqlite DATABASE ENCODER train EPOCHS, or: sqlite DATABASE ENCODER near ID");
    return stopped ? 75 : 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "sqlite: %s\n", e.what());
    return 1;
}
