/* SPDX-License-Identifier: MIT
 *
 * module: backends in modules (lib/module_file.h), libmoco_NAME.so. */
#ifndef MOCO_BACKEND_MODULE_H
#define MOCO_BACKEND_MODULE_H

#include "backend/backend.h"

/* Loads the module of the devices `name` (small letters, digits and '_'). For the sentence of MOCO_ENODEV: `device` is
 * the whole name that was asked for, and `built_in` lists the devices that need no module. A module that was taken stays
 * loaded until the process ends. */
moco_status module_find(const struct backend **out, const char *name, const char *device, const char *built_in,
                        struct err *err);

#endif
