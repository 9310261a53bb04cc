/* SPDX-License-Identifier: MIT
 *
 * torch_tensor: reads the calls that torch pickles for a tensor as data: a storage, an offset, sizes, strides. What
 * a reader would get wrong: a stride of 0 turns 4 bytes into 2^60 numbers. A tensor that is read therefore never has
 * more elements than its storage. */
#include "format/torch/torch_read.h"

#define UTILS "torch._utils"

int torch_knows(const struct pickle *p, pickle_value global)
{
    static const char *const utils[] = {"_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter",
                                        "_rebuild_parameter_with_state"};
    struct pickle_text module, name;
    for (size_t i = 0; i < sizeof utils / sizeof utils[0]; i++)
        if (pickle_global_is(p, global, UTILS, utils[i]))
            return 1;
    if (pickle_global_is(p, global, "collections", "OrderedDict") || pickle_global_is(p, global, "torch", "Size"))
        return 1;
    pickle_global(p, global, &module, &name);
    const char torch[] = "torch", storage[] = "Storage";
    size_t tail = sizeof storage - 1;
    if (module.size < 5 || name.size < tail)
        return 0;
    for (size_t i = 0; i < 5; i++)
        if (module.bytes[i] != torch[i])
            return 0;
    for (size_t i = 0; i < tail; i++)
        if (name.bytes[name.size - tail + i] != storage[i])
            return 0;
    return 1;
}

static int is_call_of(const struct pickle *p, pickle_value value, const char *module, const char *name)
{
    return pickle_kind(value) == PICKLE_CALL && pickle_kind(pickle_call_what(p, value)) == PICKLE_GLOBAL &&
           pickle_global_is(p, value, module, name);
}

/* Reads sizes or strides: a tuple, a list or torch.Size of a tuple, of integers that are not negative. Returns their
 * count; -1: malformed, 9: more than 8. */
static int read_numbers(const struct pickle *p, pickle_value value, int64_t numbers[SAFETENSORS_DIMS])
{
    struct pickle_items items;
    int count = 0;
    if (is_call_of(p, value, "torch", "Size") && pickle_count(p, pickle_call_arguments(p, value)) == 1)
        value = pickle_item(p, pickle_call_arguments(p, value), 0);
    if (pickle_kind(value) != PICKLE_TUPLE && pickle_kind(value) != PICKLE_LIST)
        return -1;
    pickle_items_start(&items, p, value);
    for (pickle_value number; pickle_items_next(&items, p, &number); count++) {
        if (count == SAFETENSORS_DIMS)
            return SAFETENSORS_DIMS + 1;
        if (pickle_kind(number) != PICKLE_INT || (numbers[count] = pickle_int(p, number)) < 0)
            return -1;
    }
    return count;
}

static enum torch_what broken(const char **reason, const char *why)
{
    *reason = why;
    return TORCH_BROKEN;
}

static enum torch_what unread(const char **reason, const char *why)
{
    *reason = why;
    return TORCH_UNREAD;
}

/* Counts the elements and checks that all of them are in the storage. */
static enum torch_what check_extent(struct weights_tensor *tensor, int64_t offset, const struct torch_storage *s,
                                    const char **reason)
{
    int64_t last = offset, step;
    tensor->count = 1;
    for (int d = 0; d < tensor->ndim; d++)
        if (__builtin_mul_overflow(tensor->count, tensor->shape[d], &tensor->count))
            return broken(reason, "has more elements than 63 bits can count");
    if (offset > s->numel)
        return broken(reason, "begins behind the end of its storage");
    if (tensor->count > s->numel)
        return unread(reason,
                      "has more elements than its storage (an expanded view; save tensor.contiguous() instead)");
    for (int d = 0; tensor->count > 0 && d < tensor->ndim; d++)
        if (__builtin_mul_overflow(tensor->shape[d] - 1, tensor->stride[d], &step) ||
            __builtin_add_overflow(last, step, &last))
            return broken(reason, "reaches beyond the end of its storage");
    if (tensor->count > 0 && last >= s->numel)
        return broken(reason, "reaches beyond the end of its storage");
    tensor->offset = s->offset + offset * s->element;
    return TORCH_TENSOR;
}

/* Reads storage, offset, sizes and strides. What torch could have written and we do not read is TORCH_UNREAD; what
 * contradicts itself is TORCH_BROKEN and makes the whole file bad. */
static enum torch_what read_arguments(const struct torch_file *t, pickle_value arguments, struct weights_tensor *tensor,
                                      struct torch_storage **storage, const char **reason)
{
    const struct pickle *p = &t->pickle;
    pickle_value first = pickle_item(p, arguments, 0), offset = pickle_item(p, arguments, 1);
    uint32_t count = pickle_count(p, arguments);
    if (pickle_kind(first) != PICKLE_PERSISTENT)
        return unread(reason, "has numbers that lie in an object, not in a storage");
    *storage = torch_storage_find(t, pickle_text(p, pickle_item(p, pickle_persistent_id(p, first), 2)));
    if ((*storage)->dtype == TORCH_DTYPE_NONE)
        return unread(reason, "has numbers of a type that is not read: complex, quantized or unknown");
    tensor->dtype = (enum safetensors_dtype)(*storage)->dtype;
    tensor->ndim = read_numbers(p, pickle_item(p, arguments, 2), tensor->shape);
    int strides = read_numbers(p, pickle_item(p, arguments, 3), tensor->stride);
    if (tensor->ndim > SAFETENSORS_DIMS)
        return unread(reason, "has more than 8 dimensions");
    if (tensor->ndim < 0)
        return broken(reason, "has sizes that are not integers from 0 to 2^63-1");
    if (strides != tensor->ndim)
        return broken(reason, "has strides that are not as many integers from 0 on as its sizes");
    if (pickle_kind(offset) != PICKLE_INT || pickle_int(p, offset) < 0)
        return broken(reason, "has an offset that is no integer from 0 on");
    if (count == 7) {
        pickle_value views = pickle_item(p, arguments, 6);
        if (pickle_kind(views) != PICKLE_NONE && (pickle_kind(views) != PICKLE_DICT || pickle_count(p, views) > 0))
            return unread(reason, "is a conjugate or negative view, or has other metadata");
    }
    return check_extent(tensor, pickle_int(p, offset), *storage, reason);
}

enum torch_what torch_tensor(const struct torch_file *t, pickle_value call, struct weights_tensor *tensor,
                             struct torch_storage **storage, const char **reason)
{
    const struct pickle *p = &t->pickle;
    *tensor = (struct weights_tensor){0};
    for (int depth = 0; is_call_of(p, call, UTILS, "_rebuild_parameter") ||
                        is_call_of(p, call, UTILS, "_rebuild_parameter_with_state");
         depth++) {
        if (depth == 4 || pickle_count(p, pickle_call_arguments(p, call)) < 1)
            return broken(reason, "is a parameter of nothing");
        call = pickle_item(p, pickle_call_arguments(p, call), 0);
    }
    int second = is_call_of(p, call, UTILS, "_rebuild_tensor_v2");
    if (!second && !is_call_of(p, call, UTILS, "_rebuild_tensor"))
        return TORCH_NO_TENSOR;
    pickle_value arguments = pickle_call_arguments(p, call);
    uint32_t count = pickle_count(p, arguments);
    if (second ? count < 6 || count > 7 : count != 4)
        return broken(reason, "is made from another number of arguments than torch gives");
    return read_arguments(t, arguments, tensor, storage, reason);
}
