/* make_golden - writes the golden messages into a directory: make_golden tests/cases/wire
 * Files that are there stay as they are, and must stay readable for ever: a new field gets a file
 * of its own. */
#include "golden.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    static forged_t envelope;
    if (argc != 2 || sodium_init() == -1) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < GOLDEN_KINDS; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", argv[1], golden_file(i));
        golden_make(i, &envelope);
        FILE *file = fopen(path, "wx");
        if (file == NULL && errno == EEXIST)
            continue;
        if (file == NULL || fwrite(envelope.bytes, 1, envelope.size, file) != envelope.size ||
            fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}
