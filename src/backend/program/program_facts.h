/* SPDX-License-Identifier: MIT
 *
 * program_facts: what the compiler must know about each kind of op, on any device: one row an op. What a reader
 * would get wrong: these are facts of the mathematics and of the shared order of steps, not abilities of a device. */
#ifndef MOCO_PROGRAM_FACTS_H
#define MOCO_PROGRAM_FACTS_H

#include "graph/graph.h"

enum program_form {
    FORM_ANY, /* a feature map or a vector; what is given has the form of what is taken */
    FORM_MAP,
    FORM_VECTOR
};

struct program_fact {
    enum program_form takes, gives;
    unsigned char takes_add, takes_relu; /* an ADD, a ReLU behind it that alone reads it becomes part of its node */
    unsigned char folds;                 /* INFER: takes the batch norm behind it, and what that takes */
    unsigned char input_kept;            /* the gradient of its input reads the input, as forward left it */
    unsigned char weights;               /* its parameters have a step of their own, STEP_WEIGHTS; else STEP_DATA */
    unsigned char joins; /* its STEP_DATA adds two parts of a gradient, undoes ADD and ReLU, and works in place */
};

extern const struct program_fact program_facts[OP_KINDS];

#endif
