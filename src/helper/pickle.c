#include "pickle.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX     64 /* marks that are open */
#define MEMO_STREAMED 64 /* entries, if items are given away: classes are among the first */

#define CLASS 0 /* the node of every class in the memo */

/* Each is made at its full size once: pages that are not used cost nothing, and nodes and texts
 * stay where they are. */
struct pickle {
    pickle_node_t *nodes;
    uint32_t count;
    char *texts;
    size_t texts_used;
    uint32_t *stack; /* numbers of nodes */
    size_t stack_count;
    uint32_t *memo;
    size_t memo_count;       /* all that there ever were */
    size_t marks[DEPTH_MAX]; /* where in the stack each begins */
    size_t mark_count;
    pickle_item_fn *each;
    void *arg;
};

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    bool is_short; /* the opcode goes on behind the end */
} reader_t;

/* ---- nodes ---- */

static bool push(pickle_t *self, uint32_t number)
{
    if (self->stack_count == PICKLE_NODES_MAX)
        return false;
    self->stack[self->stack_count++] = number;
    return true;
}

static bool push_node(pickle_t *self, const pickle_node_t *node)
{
    if (self->count == PICKLE_NODES_MAX)
        return false;
    self->nodes[self->count] = *node;
    self->nodes[self->count].next = PICKLE_END;
    return push(self, self->count++);
}

static bool push_integer(pickle_t *self, int64_t number)
{
    const pickle_node_t node = {.kind = PICKLE_NUMBER, .number = number};
    return push_node(self, &node);
}

static bool push_nothing(pickle_t *self)
{
    const pickle_node_t node = {.kind = PICKLE_NOTHING};
    return push_node(self, &node);
}

static bool push_list(pickle_t *self)
{
    const pickle_node_t node = {.kind = PICKLE_LIST, .first = PICKLE_END, .last = PICKLE_END};
    return push_node(self, &node);
}

static bool push_text(pickle_t *self, const uint8_t *bytes, size_t size)
{
    if (size > PICKLE_TEXT_MAX - self->texts_used)
        return false;
    const pickle_node_t node = {.kind = PICKLE_TEXT,
                                .text = self->texts + self->texts_used,
                                .size = size};
    memcpy(self->texts + self->texts_used, bytes, size);
    self->texts_used += size;
    return push_node(self, &node);
}

/* How many are on the stack above the last mark. */
static size_t open_count(const pickle_t *self)
{
    size_t base = self->mark_count > 0 ? self->marks[self->mark_count - 1] : 0;
    return self->stack_count - base;
}

static bool drop(pickle_t *self, size_t count)
{
    if (open_count(self) < count)
        return false;
    self->stack_count -= count;
    return true;
}

/* ---- lists ---- */

/* Each node is on the stack once, since the memo gives copies: so it gets into one list at most. */
static bool add_item(pickle_t *self, uint32_t list, uint32_t item)
{
    pickle_node_t *nodes = self->nodes;
    if (nodes[list].kind != PICKLE_LIST)
        return false;
    nodes[item].next = PICKLE_END;
    if (nodes[list].first == PICKLE_END)
        nodes[list].first = item;
    else
        nodes[nodes[list].last].next = item;
    nodes[list].last = item;
    return true;
}

/* Whether what is above this place belongs to the list L of (0, L), and somebody wants it now. */
static bool is_given_away(const pickle_t *self, size_t from)
{
    const pickle_node_t *code = &self->nodes[self->stack[0]];
    return self->each != NULL && from == 2 && self->mark_count == 0 &&
           code->kind == PICKLE_NUMBER && code->number == 0 &&
           self->nodes[self->stack[1]].kind == PICKLE_LIST;
}

/* What came behind the list is forgotten, but for what the memo says of classes. */
static bool give_away(pickle_t *self)
{
    uint32_t list = self->stack[1];
    for (size_t i = 2; i < self->stack_count; i++)
        if (!self->each(self->arg, self, &self->nodes[self->stack[i]]))
            return false;
    for (size_t i = 0; i < self->memo_count && i < MEMO_STREAMED; i++)
        if (self->memo[i] > list)
            self->memo[i] = PICKLE_END;
    self->stack_count = 2;
    self->count = list + 1;
    self->texts_used = 0;
    return true;
}

/* Move what is on the stack from a place on into the list below it. */
static bool gather(pickle_t *self, size_t from, uint32_t list)
{
    for (size_t i = from; i < self->stack_count; i++)
        if (!add_item(self, list, self->stack[i]))
            return false;
    self->stack_count = from;
    return true;
}

static bool append_from(pickle_t *self, size_t from)
{
    return is_given_away(self, from) ? give_away(self) : gather(self, from, self->stack[from - 1]);
}

/* The topmost count become a list. */
static bool make_tuple(pickle_t *self, size_t count)
{
    if (open_count(self) < count || !push_list(self))
        return false;
    uint32_t list = self->stack[--self->stack_count];
    return gather(self, self->stack_count - count, list) && push(self, list);
}

static bool put_mark(pickle_t *self)
{
    if (self->mark_count == DEPTH_MAX)
        return false;
    self->marks[self->mark_count++] = self->stack_count;
    return true;
}

/* The place of the last mark, which goes. */
static bool take_mark(pickle_t *self, size_t *from)
{
    if (self->mark_count == 0)
        return false;
    *from = self->marks[--self->mark_count];
    return true;
}

static bool make_marked_tuple(pickle_t *self)
{
    size_t from;
    return take_mark(self, &from) && make_tuple(self, self->stack_count - from);
}

/* What is above the mark goes into the list below it. */
static bool append_marked(pickle_t *self)
{
    size_t from;
    return take_mark(self, &from) && open_count(self) > self->stack_count - from &&
           append_from(self, from);
}

static bool append_one(pickle_t *self)
{
    return open_count(self) >= 2 && append_from(self, self->stack_count - 1);
}

/* ---- objects, of which the arguments stay ---- */

/* A class by its module and name: of no interest. */
static bool make_class(pickle_t *self)
{
    return drop(self, 2) && push_nothing(self);
}

/* An object from its class and the tuple of its arguments. */
static bool make_object(pickle_t *self)
{
    if (open_count(self) < 2)
        return false;
    uint32_t arguments = self->stack[self->stack_count - 1];
    self->stack_count -= 2;
    return push(self, arguments);
}

/* The items of a dictionary: it is an exception's state (sqlite3 has one), and of no interest. */
static bool drop_marked(pickle_t *self)
{
    size_t from;
    if (!take_mark(self, &from) || open_count(self) <= self->stack_count - from)
        return false;
    self->stack_count = from;
    return true;
}

/* ---- the memo ---- */

static size_t memo_max(const pickle_t *self)
{
    return self->each != NULL ? MEMO_STREAMED : PICKLE_NODES_MAX;
}

/* A copy. What was given away is gone: no address of a jail is told twice. */
static bool recall(pickle_t *self, uint64_t number)
{
    if (number >= self->memo_count || number >= memo_max(self) || self->memo[number] == PICKLE_END)
        return false;
    pickle_node_t copy = self->nodes[self->memo[number]];
    return push_node(self, &copy);
}

static bool memoize(pickle_t *self)
{
    if (open_count(self) == 0)
        return false;
    uint32_t number = self->stack[self->stack_count - 1];
    if (self->memo_count < memo_max(self))
        self->memo[self->memo_count] = self->nodes[number].kind == PICKLE_NOTHING ? CLASS : number;
    self->memo_count++;
    return true;
}

/* Protocols before 4 say where; they count up all the same. */
static bool memoize_at(pickle_t *self, uint64_t number)
{
    return number == self->memo_count && memoize(self);
}

/* ---- bytes ---- */

static bool has(reader_t *in, uint64_t bytes)
{
    in->is_short = (uint64_t)(in->end - in->at) < bytes;
    return !in->is_short;
}

static bool skip(reader_t *in, size_t bytes)
{
    if (!has(in, bytes))
        return false;
    in->at += bytes;
    return true;
}

/* A number of so many bytes, little-endian. */
static bool get_number(reader_t *in, size_t bytes, uint64_t *out)
{
    *out = 0;
    if (!has(in, bytes))
        return false;
    for (size_t i = 0; i < bytes; i++)
        *out |= (uint64_t)in->at[i] << (8 * i);
    in->at += bytes;
    return true;
}

/* A text behind its length of so many bytes. */
static bool read_text(pickle_t *self, reader_t *in, size_t bytes)
{
    uint64_t size;
    if (!get_number(in, bytes, &size) || size > PICKLE_TEXT_MAX || !has(in, size))
        return false;
    in->at += size;
    return push_text(self, in->at - size, size);
}

static bool read_integer(pickle_t *self, reader_t *in, size_t bytes)
{
    uint64_t number;
    if (!get_number(in, bytes, &number))
        return false;
    return push_integer(self, bytes == 4 ? (int32_t)(uint32_t)number : (int64_t)number);
}

/* Two's complement, as many bytes as needed; beyond 64 bits it is no time and no count. */
static bool read_long(pickle_t *self, reader_t *in)
{
    uint64_t size;
    uint64_t number;
    if (!get_number(in, 1, &size) || size > 8 || !get_number(in, size, &number))
        return false;
    if (size > 0 && size < 8 && (number >> (8 * size - 1) & 1) != 0)
        number |= UINT64_MAX << (8 * size);
    return push_integer(self, (int64_t)number);
}

/* A time with a fraction: of no use here. */
static bool read_float(pickle_t *self, reader_t *in)
{
    return skip(in, 8) && push_integer(self, 0);
}

static bool read_recall(pickle_t *self, reader_t *in, size_t bytes)
{
    uint64_t number;
    return get_number(in, bytes, &number) && recall(self, number);
}

static bool read_memoize(pickle_t *self, reader_t *in, size_t bytes)
{
    uint64_t number;
    return get_number(in, bytes, &number) && memoize_at(self, number);
}

/* One opcode of those that put what is there together. */
static bool step_frame(pickle_t *self, reader_t *in, uint8_t opcode)
{
    switch (opcode) {
    case ']': /* EMPTY_LIST */
    case ')': /* EMPTY_TUPLE */
    case '}': /* EMPTY_DICT */
        return push_list(self);
    case '(':
        return put_mark(self);
    case 'a':
        return append_one(self);
    case 'e': /* APPENDS */
        return append_marked(self);
    case 't': /* TUPLE */
        return make_marked_tuple(self);
    case 0x85: /* TUPLE1 */
    case 0x86:
    case 0x87:
        return make_tuple(self, opcode - 0x84U);
    case 0x93: /* STACK_GLOBAL */
        return make_class(self);
    case 'R': /* REDUCE */
        return make_object(self);
    case 's': /* SETITEM */
        return open_count(self) >= 3 && drop(self, 2);
    case 'u': /* SETITEMS */
        return drop_marked(self);
    case 'b': /* BUILD: an object's state */
        return open_count(self) >= 2 && drop(self, 1);
    case 0x94: /* MEMOIZE */
        return memoize(self);
    case 'q': /* BINPUT */
        return read_memoize(self, in, 1);
    case 'r': /* LONG_BINPUT */
        return read_memoize(self, in, 4);
    case 'h': /* BINGET */
        return read_recall(self, in, 1);
    case 'j': /* LONG_BINGET */
        return read_recall(self, in, 4);
    default:
        return false;
    }
}

/* One opcode. False: not one of fail2ban's, or cut off. */
static bool step(pickle_t *self, reader_t *in, uint8_t opcode)
{
    switch (opcode) {
    case 0x80: /* PROTO */
        return skip(in, 1);
    case 0x95: /* FRAME */
        return skip(in, 8);
    case 'N':
        return push_nothing(self);
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_integer(self, opcode == 0x88);
    case 'J': /* BININT */
        return read_integer(self, in, 4);
    case 'K': /* BININT1 */
        return read_integer(self, in, 1);
    case 'M': /* BININT2 */
        return read_integer(self, in, 2);
    case 0x8a: /* LONG1 */
        return read_long(self, in);
    case 'G': /* BINFLOAT */
        return read_float(self, in);
    case 'C':  /* SHORT_BINBYTES, in some exceptions */
    case 0x8c: /* SHORT_BINUNICODE */
        return read_text(self, in, 1);
    case 'X': /* BINUNICODE */
        return read_text(self, in, 4);
    case 0x8d: /* BINUNICODE8 */
        return read_text(self, in, 8);
    default:
        return step_frame(self, in, opcode);
    }
}

pickle_state_t pickle_feed(pickle_t *self, const uint8_t *bytes, size_t size, size_t *used)
{
    reader_t in = {.at = bytes, .end = bytes + size};
    while (in.at < in.end) {
        const uint8_t *opcode = in.at++;
        *used = (size_t)(in.at - bytes);
        if (*opcode == '.')
            return self->stack_count == 1 && self->mark_count == 0 ? PICKLE_WHOLE : PICKLE_WRONG;
        if (!step(self, &in, *opcode)) {
            *used = (size_t)(opcode - bytes);
            return in.is_short ? PICKLE_MORE : PICKLE_WRONG;
        }
    }
    *used = size;
    return PICKLE_MORE;
}

/* ---- the rest ---- */

pickle_t *pickle_new(pickle_item_fn *each, void *arg)
{
    pickle_t *self = xcalloc(1, sizeof *self);
    self->each = each;
    self->arg = arg;
    self->nodes = xmalloc(PICKLE_NODES_MAX * sizeof *self->nodes);
    self->texts = xmalloc(PICKLE_TEXT_MAX);
    self->stack = xmalloc(PICKLE_NODES_MAX * sizeof *self->stack);
    self->memo = xmalloc(memo_max(self) * sizeof *self->memo);
    self->nodes[CLASS] = (pickle_node_t){.kind = PICKLE_NOTHING, .next = PICKLE_END};
    self->count = CLASS + 1;
    return self;
}

void pickle_destroy(pickle_t **self_p)
{
    pickle_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    free(self->nodes);
    free(self->texts);
    free(self->stack);
    free(self->memo);
    free(self);
}

const pickle_node_t *pickle_root(const pickle_t *self)
{
    return &self->nodes[self->stack[0]];
}

const pickle_node_t *pickle_first(const pickle_t *self, const pickle_node_t *list)
{
    return list->kind == PICKLE_LIST && list->first != PICKLE_END ? &self->nodes[list->first]
                                                                  : NULL;
}

const pickle_node_t *pickle_next(const pickle_t *self, const pickle_node_t *item)
{
    return item->next != PICKLE_END ? &self->nodes[item->next] : NULL;
}

bool pickle_text(const pickle_node_t *node, char *out, size_t size)
{
    *out = '\0';
    if (node->kind != PICKLE_TEXT || memchr(node->text, '\0', node->size) != NULL)
        return false;
    size_t length = node->size < size ? node->size : size - 1;
    memcpy(out, node->text, length);
    out[length] = '\0';
    return true;
}
