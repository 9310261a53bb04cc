/* SPDX-License-Identifier: MIT
 *
 * module: backends that are shared libraries of their own, libmoco_NAME.so. What a reader would get wrong: a module is
 * taken from two folders only, that of libmoco.so and the one that the build was told to install into; no variable of
 * the environment and no working folder decides what code runs. The first file of that name decides: one that cannot be
 * taken is an error, and no other is looked for. */
#ifndef MOCO_BACKEND_MODULE_H
#define MOCO_BACKEND_MODULE_H

#include "backend/backend.h"

/* Loads the module of the devices `name` (small letters, digits and '_'). For the sentence of MOCO_ENODEV: `device` is
 * the whole name that was asked for, and `built_in` lists the devices that need no module. A module that was taken stays
 * loaded until the process ends. */
moco_status module_find(const struct backend **out, const char *name, const char *device, const char *built_in,
                        struct err *err);

#endif
