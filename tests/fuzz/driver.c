/* driver - runs a fuzzer as an ordinary test, without libFuzzer: every file of the corpus, and then
 * mutations of them that are the same in every run.
 *
 *   fuzz_<parser> CORPUS [ROUNDS [SEED [ROUND]]]
 *
 * A crash says seed and round; with both as arguments, only that round is run again. */
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS_DEFAULT 20000
#define SEED_DEFAULT   20261121
#define INPUT_MAX      (72 * 1024)
#define GROW_MAX       256 /* bytes that one mutation adds */
#define MUTATIONS_MAX  6
#define FILES_MAX      256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    uint8_t *bytes;
    size_t size;
} input_t;

static input_t corpus[FILES_MAX];
static size_t corpus_size;
static uint64_t seed = SEED_DEFAULT;
static volatile uint64_t current_round;

/* splitmix64, public domain, by Sebastiano Vigna. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit == 0 ? 0 : (size_t)(next_random(state) % limit);
}

static void say_where(int signal)
{
    char text[128];
    int used = snprintf(text, sizeof text, "signal %d: seed %" PRIu64 " round %" PRIu64 "\n",
                        signal, seed, current_round);
    if (write(STDERR_FILENO, text, (size_t)used) == -1)
        _exit(1);
    _exit(1);
}

static int is_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void read_input(const char *directory, const char *name, input_t *input)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "r");
    input->bytes = calloc(1, INPUT_MAX);
    if (file == NULL || input->bytes == NULL) {
        perror(path);
        exit(1);
    }
    input->size = fread(input->bytes, 1, INPUT_MAX, file);
    fclose(file);
}

static void read_corpus(const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_file, alphasort);
    if (count < 1 || count > FILES_MAX) {
        fprintf(stderr, "%s: expected 1 to %d files\n", directory, FILES_MAX);
        exit(1);
    }
    for (int i = 0; i < count; i++) {
        read_input(directory, entries[i]->d_name, &corpus[corpus_size++]);
        free(entries[i]);
    }
    free(entries);
}

static void flip(uint8_t *bytes, size_t size, uint64_t *state)
{
    if (size > 0)
        bytes[below(state, size)] ^= (uint8_t)(1u << below(state, 8));
}

static void overwrite(uint8_t *bytes, size_t size, uint64_t *state)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, ' ', '\n', '=', '"', '#'};
    if (size > 0)
        bytes[below(state, size)] = edges[below(state, sizeof edges)];
}

static size_t cut(uint8_t *bytes, size_t size, uint64_t *state)
{
    size_t at = below(state, size);
    size_t length = below(state, size - at + 1);
    memmove(bytes + at, bytes + at + length, size - at - length);
    return size - length;
}

static size_t insert(uint8_t *bytes, size_t size, uint64_t *state)
{
    size_t at = below(state, size + 1);
    size_t length = below(state, GROW_MAX);
    if (size + length > INPUT_MAX)
        return size;
    memmove(bytes + at + length, bytes + at, size - at);
    for (size_t i = 0; i < length; i++)
        bytes[at + i] = (uint8_t)next_random(state);
    return size + length;
}

/* Put a piece of another file of the corpus in. */
static size_t splice(uint8_t *bytes, size_t size, uint64_t *state)
{
    const input_t *other = &corpus[below(state, corpus_size)];
    size_t from = below(state, other->size);
    size_t length = below(state, other->size - from + 1);
    size_t at = below(state, size + 1);
    if (size + length > INPUT_MAX)
        return size;
    memmove(bytes + at + length, bytes + at, size - at);
    memcpy(bytes + at, other->bytes + from, length);
    return size + length;
}

static void run_round(uint64_t round)
{
    static uint8_t bytes[INPUT_MAX];
    uint64_t state = seed * 1000003 + round;
    const input_t *start = &corpus[below(&state, corpus_size)];
    size_t size = start->size;
    memcpy(bytes, start->bytes, size);
    current_round = round;
    for (size_t left = 1 + below(&state, MUTATIONS_MAX); left > 0; left--)
        switch (below(&state, 5)) {
        case 0:
            flip(bytes, size, &state);
            break;
        case 1:
            overwrite(bytes, size, &state);
            break;
        case 2:
            size = cut(bytes, size, &state);
            break;
        case 3:
            size = insert(bytes, size, &state);
            break;
        default:
            size = splice(bytes, size, &state);
            break;
        }
    /* A block of exactly that size, so that a sanitizer sees a byte read behind its end. */
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL)
        exit(1);
    memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : ROUNDS_DEFAULT;
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS [ROUNDS [SEED [ROUND]]]\n", argv[0]);
        return 2;
    }
    if (argc > 3)
        seed = strtoull(argv[3], NULL, 10);
    signal(SIGABRT, say_where);
    signal(SIGSEGV, say_where);
    read_corpus(argv[1]);
    printf("%zu files of the corpus, %" PRIu64 " rounds, seed %" PRIu64 "\n", corpus_size, rounds,
           seed);
    fflush(stdout);
    if (argc > 4)
        run_round(strtoull(argv[4], NULL, 10));
    for (size_t i = 0; argc <= 4 && i < corpus_size; i++)
        LLVMFuzzerTestOneInput(corpus[i].bytes, corpus[i].size);
    for (uint64_t round = 0; argc <= 4 && round < rounds; round++)
        run_round(round);
    for (size_t i = 0; i < corpus_size; i++)
        free(corpus[i].bytes);
    return 0;
}
