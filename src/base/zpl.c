#include "zpl.h"

#include <fcntl.h>
#include <stdarg.h>

#define ZPL_LINE_MAX  1000 /* zconfig cuts lines at 1024 */
#define ZPL_INDENT    4
#define ZPL_DEPTH_MAX 8

typedef struct {
    zconfig_t *node;
    int line;
} placed_t;

struct zpl {
    char *path;
    zconfig_t *root;
    int *lines;      /* of the meaningful lines, in order */
    placed_t *nodes; /* in the same order */
    size_t line_count;
    size_t node_count;
};

static char *read_file(const char *path, struct stat *status, fault_t *fault)
{
    struct stat own;
    if (status == NULL)
        status = &own;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1 || fstat(fd, status) == -1) {
        fault_set(fault, "%s: %s", path, strerror(errno));
        if (fd != -1)
            close(fd);
        return NULL;
    }
    char *text = NULL;
    if (!S_ISREG(status->st_mode))
        fault_set(fault, "%s: not a regular file", path);
    else if (status->st_size > ZPL_FILE_MAX_BYTES)
        fault_set(fault, "%s: %lld bytes, expected at most %d", path, (long long)status->st_size,
                  ZPL_FILE_MAX_BYTES);
    else {
        text = xcalloc(1, (size_t)status->st_size + 1);
        ssize_t got = read(fd, text, (size_t)status->st_size);
        if (got != status->st_size) {
            fault_set(fault, "%s: cannot be read whole", path);
            free(text);
            text = NULL;
        } else if (strlen(text) != (size_t)got) {
            fault_set(fault, "%s: has a NUL byte, expected text", path);
            free(text);
            text = NULL;
        }
    }
    close(fd);
    return text;
}

/* True if an unquoted value has a '#' that is not a comment to the eye: "a#b" would become "a". */
static bool has_glued_hash(const char *line)
{
    const char *value = strchr(line, '=');
    if (value == NULL)
        return false;
    value += 1 + strspn(value + 1, " ");
    if (*value == '"' || *value == '\'')
        return false;
    const char *hash = strchr(value, '#');
    return hash != NULL && hash != value && hash[-1] != ' ';
}

/* NULL, or what is wrong with a value that begins with a quote. */
static const char *check_quote(const char *line)
{
    const char *value = strchr(line, '=');
    if (value == NULL)
        return NULL;
    value += 1 + strspn(value + 1, " ");
    if (*value != '"' && *value != '\'')
        return NULL;
    const char *end = strchr(value + 1, *value);
    if (end == NULL)
        return "quote is not closed on the same line";
    end += 1 + strspn(end + 1, " ");
    return *end == '\0' || *end == '#' ? NULL : "text behind the closing quote";
}

/* What zconfig would do wrong or complain of without a name. depth is that of the line before and
 * becomes that of this one. Returns 1 for a meaningful line, 0 for an empty one, -1 with words. */
static int check_line(const char *line, size_t length, int *depth, const char **wrong)
{
    if (length > ZPL_LINE_MAX) {
        *wrong = "line is longer than 1000 bytes";
        return -1;
    }
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            *wrong = line[i] == '\t' ? "has a tab, expected spaces" : "has a control character";
            return -1;
        }
    size_t indent = strspn(line, " ");
    if (line[indent] == '\0')
        return 0;
    if (line[indent] == '#')
        return 0;
    if (indent % ZPL_INDENT != 0) {
        *wrong = "indented by a number of spaces that is not a multiple of 4";
        return -1;
    }
    int level = (int)(indent / ZPL_INDENT);
    if (level > *depth + 1 || level > ZPL_DEPTH_MAX) {
        *wrong = "indented deeper than the line above allows";
        return -1;
    }
    *depth = level;
    size_t name = strspn(line + indent, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                        "0123456789$-_@.&+");
    const char *after = line + indent + name + strspn(line + indent + name, " ");
    if (name == 0 || (*after != '\0' && *after != '=' && *after != '#')) {
        *wrong = "expected `name = \"value\"` or a section's name";
        return -1;
    }
    if (has_glued_hash(line)) {
        *wrong = "unquoted value with '#': put it in quotes";
        return -1;
    }
    *wrong = check_quote(line);
    return *wrong == NULL ? 1 : -1;
}

/* Blank out lines that hold only a comment: zconfig wants even those indented by fours. */
static void blank(char *line)
{
    memset(line, ' ', strlen(line));
}

/* Check all lines and remember which are meaningful. Restores the newlines. */
static int scan(zpl_t *self, char *text, fault_t *fault)
{
    int depth = -1;
    int number = 0;
    for (char *line = text; *line != '\0';) {
        char *end = strchrnul(line, '\n');
        bool last = *end == '\0';
        *end = '\0';
        number++;
        if (end > line && end[-1] == '\r')
            end[-1] = ' ';
        const char *wrong = NULL;
        int kind = check_line(line, strlen(line), &depth, &wrong);
        if (kind == -1)
            return fault_set(fault, "%s:%d: %s", self->path, number, wrong);
        if (kind == 0 && !last)
            blank(line);
        if (kind == 0 && last)
            *line = '\0';
        if (kind == 1) {
            self->lines = xrealloc(self->lines, (self->line_count + 1) * sizeof *self->lines);
            self->lines[self->line_count++] = number;
        }
        if (last)
            break;
        *end = '\n';
        line = end + 1;
    }
    return 0;
}

/* Each meaningful line made one node, in order: hand the lines out depth first. */
static int place(zpl_t *self, zconfig_t *parent, fault_t *fault)
{
    for (zconfig_t *node = zconfig_child(parent); node != NULL; node = zconfig_next(node)) {
        if (self->node_count == self->line_count)
            return fault_set(fault, "%s: more entries than lines", self->path);
        self->nodes[self->node_count] = (placed_t){node, self->lines[self->node_count]};
        self->node_count++;
        for (zconfig_t *twin = zconfig_child(parent); twin != node; twin = zconfig_next(twin))
            if (streq(zconfig_name(twin), zconfig_name(node)))
                return zpl_fault(self, node, fault, "\"%s\" already stands on line %d",
                                 zconfig_name(node), zpl_line(self, twin));
        if (place(self, node, fault) == -1)
            return -1;
    }
    return 0;
}

zpl_t *zpl_load(const char *path, struct stat *status, fault_t *fault)
{
    char *text = read_file(path, status, fault);
    if (text == NULL)
        return NULL;
    zpl_t *self = xcalloc(1, sizeof *self);
    self->path = xstrdup(path);
    int rc = scan(self, text, fault);
    if (rc == 0) {
        self->root = zconfig_str_load(text);
        if (self->root == NULL)
            rc = fault_set(fault, "%s: not a ZPL file", path);
    }
    if (rc == 0) {
        self->nodes = xcalloc(self->line_count, sizeof *self->nodes);
        rc = place(self, self->root, fault);
    }
    /* It may have held a secret key. */
    explicit_bzero(text, strlen(text));
    free(text);
    if (rc == -1)
        zpl_destroy(&self);
    return self;
}

void zpl_destroy(zpl_t **self_p)
{
    zpl_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    zconfig_destroy(&self->root);
    free(self->lines);
    free(self->nodes);
    free(self->path);
    free(self);
}

zconfig_t *zpl_root(zpl_t *self)
{
    return self->root;
}

int zpl_line(const zpl_t *self, const zconfig_t *node)
{
    for (size_t i = 0; i < self->node_count; i++)
        if (self->nodes[i].node == node)
            return self->nodes[i].line;
    return 0;
}

int zpl_fault(zpl_t *self, zconfig_t *node, fault_t *fault, const char *format, ...)
{
    char text[FAULT_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int line = zpl_line(self, node);
    if (line == 0)
        return fault_set(fault, "%s: %s", self->path, text);
    return fault_set(fault, "%s:%d: %s", self->path, line, text);
}
