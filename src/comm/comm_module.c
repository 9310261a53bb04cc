/* SPDX-License-Identifier: MIT
 *
 * comm_module: engines that modules offer. What a reader would get wrong: libmoco knows no MPI. What a module exports is
 * a public struct, so that anybody may build one, with the MPI of his site, against the public headers alone. */
#include <string.h>

#include "comm/comm.h"
#include "dl.h"
#include "module_file.h"
#include "utf8.h"

#define SYMBOL "moco_comm_module_entry"

static moco_status check_version(const moco_comm_module *module, const char *where, struct err *err)
{
    if (module->abi == MOCO_COMM_MODULE_ABI)
        return MOCO_OK;
    return err_set(err, MOCO_ENODEV,
                   "%.200s was built for version %lu of libmoco's contract with its engines, and this libmoco has "
                   "version %d; build it with the headers of this libmoco",
                   where, (unsigned long)module->abi, MOCO_COMM_MODULE_ABI);
}

moco_status comm_module_find(const moco_comm_module **out, const char *name, struct err *err)
{
    void *library;
    char path[MODULE_PATH];
    struct err why = {0};
    *out = NULL;
    if (name[0] == 0 || name[module_name_length(name)] != 0)
        return err_set(err, MOCO_EINVAL, "\"%.40s\" is no name of a module: small letters and digits, as in \"mpi\"",
                       name);
    moco_status status = module_open(&library, path, name, &why);
    if (status == MOCO_OK) {
        const moco_comm_module *module = dl_symbol(library, SYMBOL);
        status = module != NULL ? check_version(module, path, &why)
                                : err_set(&why, MOCO_ENODEV, "%.200s has no symbol " SYMBOL, path);
        if (status == MOCO_OK)
            *out = module;
        else
            dl_close(library);
    }
    return status == MOCO_OK ? status : err_set(err, status, "engine %s: %s", name, why.text);
}

moco_status comm_module_engine(moco_comm_engine *engine, const moco_comm_module *module, const void *argument,
                               struct err *err)
{
    char why[256] = "", text[300];
    TRY(check_version(module, "the module", err));
    if (module->open == NULL)
        return err_set(err, MOCO_EINVAL, "the module has no function open");
    if (module->open(argument, engine, why, sizeof why) == 0)
        return MOCO_OK;
    why[sizeof why - 1] = 0;
    utf8_printable(text, sizeof text, why);
    return err_set(err, MOCO_ECOMM, "%s", text);
}
