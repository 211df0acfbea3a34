/* Main program of the fuzz targets where there is no libFuzzer: feeds each file of the corpus,
 * each of its beginnings, and a fixed number of small damages to it, so that `make check`
 * repeats what the fuzzer found on every machine and with every compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgheir/base/buf.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/prng.h"
#include "pgheir/base/str.h"

enum { REPLAY_FILE_SIZE_MAX = 1 << 20, REPLAY_PREFIXES_MAX = 512, REPLAY_DAMAGES = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly size bytes, so that a sanitizer sees the first byte read beyond it. */
static void
feed(const char *bytes, size_t size)
{
    uint8_t *copy = mem_new(size, 1);

    if (size > 0)
        memcpy(copy, bytes, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    mem_free(copy);
}

static void
feed_damaged(const struct buf *content, struct prng *prng)
{
    char *copy;

    if (content->length == 0)
        return;
    copy = mem_new(content->length, 1);
    for (int i = 0; i < REPLAY_DAMAGES; i++) {
        memcpy(copy, content->bytes, content->length);
        for (uint64_t n = 1 + prng_below(prng, 3); n > 0; n--)
            copy[prng_below(prng, content->length)] = (char)prng_below(prng, 256);
        feed(copy, content->length);
    }
    mem_free(copy);
}

static int
replay_file(const char *path, struct prng *prng)
{
    struct buf content;
    char piece[4096];
    size_t got;
    size_t step;
    FILE *file = fopen(path, "rbe");

    if (file == NULL) {
        perror(path);
        return -1;
    }
    buf_init(&content, REPLAY_FILE_SIZE_MAX);
    while ((got = fread(piece, 1, sizeof(piece), file)) > 0)
        (void)buf_append(&content, piece, got);
    (void)fclose(file);
    feed(buf_text(&content), content.length);
    step = 1 + content.length / REPLAY_PREFIXES_MAX;
    for (size_t length = 0; length < content.length; length += step)
        feed(content.bytes, length);
    feed_damaged(&content, prng);
    buf_done(&content);
    return 0;
}

static int
replay_folder(const char *folder)
{
    struct prng prng;
    struct dirent *entry;
    char path[4096];
    int files = 0;
    DIR *dir = opendir(folder);

    if (dir == NULL) {
        perror(folder);
        return -1;
    }
    prng_seed(&prng, 1);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (!str_format(path, sizeof(path), "%s/%s", folder, entry->d_name) ||
            replay_file(path, &prng) != 0) {
            files = -1;
            break;
        }
        files++;
    }
    (void)closedir(dir);
    return files;
}

/* With arguments: replays these files (a crash that the fuzzer kept). Without: the corpus of the
 * target, fuzz_x has tests/fuzz/corpus/x. */
int
main(int argc, char **argv)
{
    const char *srcdir = getenv("srcdir");
    const char *name = strrchr(argv[0], '/');
    char folder[4096];
    struct prng prng;
    int files;

    prng_seed(&prng, 1);
    for (int i = 1; i < argc; i++) {
        if (replay_file(argv[i], &prng) != 0)
            return 1;
    }
    if (argc > 1)
        return 0;
    name = name == NULL ? argv[0] : name + 1;
    if (str_starts_with(name, "fuzz_"))
        name += strlen("fuzz_");
    if (!str_format(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name))
        return 1;
    files = replay_folder(folder);
    if (files <= 0) {
        (void)fprintf(stderr, "%s: no corpus to replay\n", folder);
        return 1;
    }
    (void)printf("%d files replayed\n", files);
    return 0;
}
