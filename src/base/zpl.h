/* zpl - a ZPL file (rfc.zeromq.org/spec:4/ZPL) as a zconfig tree whose nodes know their lines.
 * zconfig itself reads the values; this room refuses beforehand what zconfig would misread silently
 * or complain of without naming the file: tabs, odd indents, duplicates, an unquoted '#', control
 * characters. Start-up and reload only. */
#ifndef BANMESH_BASE_ZPL_H
#define BANMESH_BASE_ZPL_H

#include "log.h"

#include <czmq.h>
#include <sys/stat.h>

#define ZPL_FILE_MAX_BYTES (256 * 1024)

typedef struct zpl zpl_t;

/* Read and parse a file. status, if not NULL, gets the file's own metadata as it was opened, so
 * that a caller can check its mode without a race. Returns NULL with the fault naming file and
 * line. The caller owns the result. */
zpl_t *zpl_load(const char *path, struct stat *status, fault_t *fault);

void zpl_destroy(zpl_t **self_p);

/* The root; lives as long as the zpl_t. */
zconfig_t *zpl_root(zpl_t *self);

/* The line, from 1, on which a node of the tree stands; 0 for the root. */
int zpl_line(const zpl_t *self, const zconfig_t *node);

/* Set a fault that begins with "path:line: ". Returns -1. */
int zpl_fault(zpl_t *self, zconfig_t *node, fault_t *fault, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
