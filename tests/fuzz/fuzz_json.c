/* SPDX-License-Identifier: MIT
 *
 * fuzz_json: any bytes to the JSON parser; and skipping a value must end where reading it token by token ends. */
#include <stdint.h>
#include <stdlib.h>

#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct json j;
    struct json_token t;
    struct err err = {0};
    int whole;
    char *decoded = malloc(size + 1);
    if (decoded == NULL)
        return 0;
    json_start(&j, bytes, size, 0);
    do {
        whole = json_next(&j, &t, &err) == MOCO_OK;
        if (whole && (t.kind == JSON_KEY || t.kind == JSON_STRING) && json_decode(&t, decoded) > t.length)
            abort();
    } while (whole && t.kind != JSON_END);
    free(decoded);
    if (!whole && (err.status != MOCO_EFORMAT || err.text[0] == 0))
        abort();
    json_start(&j, bytes, size, 0);
    int skipped =
        json_next(&j, &t, NULL) == MOCO_OK && json_skip(&j, &t, NULL) == MOCO_OK && json_next(&j, &t, NULL) == MOCO_OK;
    if (whole != skipped)
        abort();
    return 0;
}
