/* SPDX-License-Identifier: MIT
 *
 * safetensors_dtype: names and sizes of the types of numbers, as the format writes them. */
#include "format/safetensors.h"

size_t safetensors_dtype_size(enum safetensors_dtype dtype)
{
    switch (dtype) {
#define SIZE_(name, bytes)                                                                                             \
    case SAFETENSORS_##name:                                                                                           \
        return bytes;
        SAFETENSORS_DTYPES(SIZE_)
#undef SIZE_
    default:
        return 0;
    }
}

const char *safetensors_dtype_name(enum safetensors_dtype dtype)
{
    switch (dtype) {
#define NAME_(name, bytes)                                                                                             \
    case SAFETENSORS_##name:                                                                                           \
        return #name;
        SAFETENSORS_DTYPES(NAME_)
#undef NAME_
    default:
        return "unknown";
    }
}
