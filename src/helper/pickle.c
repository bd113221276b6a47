#include "pickle.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

#define NODES_MAX (8U << 20)
#define DEPTH_MAX 64 /* marks that are open */

/* Numbers of nodes. */
typedef struct {
    uint32_t *items;
    size_t count;
    size_t size;
} numbers_t;

struct pickle {
    pickle_node_t *nodes;
    uint32_t count;
    uint32_t size;
    numbers_t stack;
    numbers_t memo;
    size_t marks[DEPTH_MAX]; /* where in the stack each begins */
    size_t mark_count;
    uint32_t root;
};

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} reader_t;

/* ---- nodes ---- */

static bool push_number(numbers_t *self, uint32_t number)
{
    if (self->count == self->size) {
        self->size = self->size * 2 + 64;
        self->items = xrealloc(self->items, self->size * sizeof *self->items);
    }
    self->items[self->count++] = number;
    return true;
}

static bool push_node(pickle_t *self, const pickle_node_t *node)
{
    if (self->count == NODES_MAX)
        return false;
    if (self->count == self->size) {
        self->size = self->size * 2 + 64;
        self->nodes = xrealloc(self->nodes, self->size * sizeof *self->nodes);
    }
    self->nodes[self->count] = *node;
    self->nodes[self->count].next = PICKLE_END;
    return push_number(&self->stack, self->count++);
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

/* How many are on the stack above the last mark. */
static size_t open_count(const pickle_t *self)
{
    size_t base = self->mark_count > 0 ? self->marks[self->mark_count - 1] : 0;
    return self->stack.count - base;
}

/* An item that stands in another list already, through the memo, is copied. */
static bool add_item(pickle_t *self, uint32_t list, uint32_t item)
{
    pickle_node_t *nodes = self->nodes;
    if (nodes[list].kind != PICKLE_LIST || item == list)
        return false;
    nodes[item].next = PICKLE_END;
    if (nodes[list].first == PICKLE_END)
        nodes[list].first = item;
    else
        nodes[nodes[list].last].next = item;
    nodes[list].last = item;
    nodes[list].number++;
    return true;
}

/* Move what is on the stack from a place on into the list below it. */
static bool gather(pickle_t *self, size_t from, uint32_t list)
{
    for (size_t i = from; i < self->stack.count; i++)
        if (!add_item(self, list, self->stack.items[i]))
            return false;
    self->stack.count = from;
    return true;
}

/* The topmost count become a list. */
static bool make_tuple(pickle_t *self, size_t count)
{
    if (open_count(self) < count || !push_list(self))
        return false;
    uint32_t list = self->stack.items[--self->stack.count];
    return gather(self, self->stack.count - count, list) && push_number(&self->stack, list);
}

static bool take_mark(pickle_t *self, size_t *from)
{
    if (self->mark_count == 0)
        return false;
    *from = self->marks[--self->mark_count];
    return true;
}

static bool put_mark(pickle_t *self)
{
    if (self->mark_count == DEPTH_MAX)
        return false;
    self->marks[self->mark_count++] = self->stack.count;
    return true;
}

static bool make_marked_tuple(pickle_t *self)
{
    size_t from;
    return take_mark(self, &from) && make_tuple(self, self->stack.count - from);
}

/* What is above the mark goes into the list below it. */
static bool append_marked(pickle_t *self)
{
    size_t from;
    return take_mark(self, &from) && open_count(self) > self->stack.count - from &&
           gather(self, from, self->stack.items[from - 1]);
}

static bool append_one(pickle_t *self)
{
    if (open_count(self) < 2)
        return false;
    return gather(self, self->stack.count - 1, self->stack.items[self->stack.count - 2]);
}

/* A class by its module and name: of no interest. */
static bool make_class(pickle_t *self)
{
    if (open_count(self) < 2)
        return false;
    self->stack.count -= 2;
    return push_nothing(self);
}

/* An object from its class and the tuple of its arguments: the arguments. The text of one is the
 * text itself, since fail2ban has addresses that are so. */
static bool make_object(pickle_t *self)
{
    if (open_count(self) < 2)
        return false;
    uint32_t arguments = self->stack.items[self->stack.count - 1];
    self->stack.count -= 2;
    return push_number(&self->stack, arguments);
}

static bool recall(pickle_t *self, size_t number)
{
    if (number >= self->memo.count)
        return false;
    pickle_node_t copy = self->nodes[self->memo.items[number]];
    return push_node(self, &copy);
}

static bool memoize(pickle_t *self)
{
    return open_count(self) > 0 &&
           push_number(&self->memo, self->stack.items[self->stack.count - 1]);
}

/* Protocols before 4 say where; they count up all the same. */
static bool memoize_at(pickle_t *self, size_t number)
{
    return number == self->memo.count && memoize(self);
}

/* ---- bytes ---- */

/* A number of so many bytes, little-endian. */
static bool get_number(reader_t *in, size_t bytes, uint64_t *out)
{
    *out = 0;
    if ((size_t)(in->end - in->at) < bytes)
        return false;
    for (size_t i = 0; i < bytes; i++)
        *out |= (uint64_t)in->at[i] << (8 * i);
    in->at += bytes;
    return true;
}

static bool skip(reader_t *in, size_t bytes)
{
    if ((size_t)(in->end - in->at) < bytes)
        return false;
    in->at += bytes;
    return true;
}

static bool read_text(pickle_t *self, reader_t *in, size_t length_bytes)
{
    uint64_t length;
    if (!get_number(in, length_bytes, &length) || (uint64_t)(in->end - in->at) < length)
        return false;
    const pickle_node_t node = {.kind = PICKLE_TEXT,
                                .text = (const char *)in->at,
                                .size = (size_t)length};
    in->at += length;
    return push_node(self, &node);
}

static bool read_integer(pickle_t *self, reader_t *in, size_t bytes)
{
    uint64_t number;
    if (!get_number(in, bytes, &number))
        return false;
    return push_integer(self, bytes == 4 ? (int32_t)(uint32_t)number : (int64_t)number);
}

/* Of any length, signed; beyond 64 bits it is no time and no count. */
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
    return get_number(in, bytes, &number) && recall(self, (size_t)number);
}

static bool read_memoize(pickle_t *self, reader_t *in, size_t bytes)
{
    uint64_t number;
    return get_number(in, bytes, &number) && memoize_at(self, (size_t)number);
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
    case 0x8c: /* SHORT_BINUNICODE */
        return read_text(self, in, 1);
    case 'X': /* BINUNICODE */
        return read_text(self, in, 4);
    case 0x8d: /* BINUNICODE8 */
        return read_text(self, in, 8);
    case ']': /* EMPTY_LIST */
    case ')': /* EMPTY_TUPLE */
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

static bool read_all(pickle_t *self, const uint8_t *bytes, size_t size)
{
    reader_t in = {bytes, bytes + size};
    while (in.at < in.end) {
        uint8_t opcode = *in.at++;
        if (opcode == '.') {
            if (self->stack.count != 1 || self->mark_count != 0 || in.at != in.end)
                return false;
            self->root = self->stack.items[0];
            return true;
        }
        if (!step(self, &in, opcode))
            return false;
    }
    return false;
}

pickle_t *pickle_read(const uint8_t *bytes, size_t size)
{
    pickle_t *self = xcalloc(1, sizeof *self);
    bool good = read_all(self, bytes, size);
    free(self->stack.items);
    free(self->memo.items);
    self->stack = self->memo = (numbers_t){0};
    if (!good)
        pickle_destroy(&self);
    return self;
}

void pickle_destroy(pickle_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->stack.items);
    free((*self_p)->memo.items);
    free((*self_p)->nodes);
    free(*self_p);
    *self_p = NULL;
}

const pickle_node_t *pickle_root(const pickle_t *self)
{
    return &self->nodes[self->root];
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
