#include "admin.h"

#include "local.h"

#include <sys/socket.h>

#define ADMIN_LINE_MAX        2048
#define ADMIN_CONNECTIONS_MAX 16
#define ADMIN_WAIT_S          10
#define ADMIN_MODE            0660

typedef struct {
    admin_t *admin;
    zmq_pollitem_t item;
    char line[ADMIN_LINE_MAX];
    size_t used;
    char *answer; /* NULL until the line is complete */
    size_t length;
    size_t sent;
} connection_t;

struct admin {
    zloop_t *loop;
    char *path;
    admin_answer_fn *answer;
    void *arg;
    zmq_pollitem_t item;
    int spare; /* see local_accept */
    connection_t *connections[ADMIN_CONNECTIONS_MAX];
};

static void hang_up(connection_t *connection)
{
    admin_t *admin = connection->admin;
    for (int i = 0; i < ADMIN_CONNECTIONS_MAX; i++)
        if (admin->connections[i] == connection)
            admin->connections[i] = NULL;
    zloop_poller_end(admin->loop, &connection->item);
    close(connection->item.fd);
    free(connection->answer);
    free(connection);
}

static void make_answer(connection_t *connection)
{
    admin_t *admin = connection->admin;
    json_t *json = admin->answer(admin->arg, connection->line);
    if (json == NULL)
        json = json_pack("{s:s+}", "error", "unknown command: ", connection->line);
    connection->answer = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(json);
    if (connection->answer == NULL)
        connection->answer = xstrdup("{\"error\":\"answer is not text\"}");
    connection->length = strlen(connection->answer);
}

/* Returns false when the connection is to end. */
static bool read_line(connection_t *connection)
{
    ssize_t got = recv(connection->item.fd, connection->line + connection->used,
                       sizeof connection->line - 1 - connection->used, 0);
    if (got <= 0)
        return got == -1 && errno == EAGAIN;
    connection->used += (size_t)got;
    connection->line[connection->used] = '\0';
    char *end = strchr(connection->line, '\n');
    if (end == NULL)
        return connection->used < sizeof connection->line - 1;
    *end = '\0';
    make_answer(connection);
    return true;
}

static bool write_answer(connection_t *connection)
{
    ssize_t sent = send(connection->item.fd, connection->answer + connection->sent,
                        connection->length - connection->sent, MSG_NOSIGNAL);
    if (sent == -1)
        return errno == EAGAIN;
    connection->sent += (size_t)sent;
    return connection->sent < connection->length;
}

static int serve(zloop_t *loop, zmq_pollitem_t *item, void *arg);

static void wait_for(connection_t *connection, short events)
{
    zloop_t *loop = connection->admin->loop;
    zloop_poller_end(loop, &connection->item);
    connection->item.events = events;
    zloop_poller(loop, &connection->item, serve, connection);
    zloop_poller_set_tolerant(loop, &connection->item);
}

static int serve(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    connection_t *connection = arg;
    bool alive = true;
    if (connection->answer == NULL)
        alive = read_line(connection);
    if (alive && connection->answer != NULL) {
        alive = write_answer(connection);
        if (alive)
            wait_for(connection, ZMQ_POLLOUT);
    }
    if (!alive)
        hang_up(connection);
    return 0;
}

static int greet(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    admin_t *self = arg;
    int fd = local_accept(item->fd, &self->spare);
    if (fd == -1)
        return 0;
    uid_t user = local_user(fd);
    int slot = 0;
    while (slot < ADMIN_CONNECTIONS_MAX && self->connections[slot] != NULL)
        slot++;
    if ((user != 0 && user != geteuid()) || slot == ADMIN_CONNECTIONS_MAX) {
        close(fd);
        return 0;
    }
    connection_t *connection = xcalloc(1, sizeof *connection);
    connection->admin = self;
    connection->item = (zmq_pollitem_t){.fd = fd, .events = ZMQ_POLLIN};
    self->connections[slot] = connection;
    zloop_poller(loop, &connection->item, serve, connection);
    zloop_poller_set_tolerant(loop, &connection->item);
    return 0;
}

admin_t *admin_new(zloop_t *loop, const char *path, admin_answer_fn *answer, void *arg,
                   fault_t *fault)
{
    admin_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->path = xstrdup(path);
    self->answer = answer;
    self->arg = arg;
    self->item.fd = local_listen(path, ADMIN_MODE, fault);
    self->item.events = ZMQ_POLLIN;
    if (self->item.fd == -1) {
        free(self->path);
        free(self);
        return NULL;
    }
    self->spare = local_spare();
    zloop_poller(loop, &self->item, greet, self);
    zloop_poller_set_tolerant(loop, &self->item);
    return self;
}

void admin_destroy(admin_t **self_p)
{
    admin_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (int i = 0; i < ADMIN_CONNECTIONS_MAX; i++)
        if (self->connections[i] != NULL)
            hang_up(self->connections[i]);
    zloop_poller_end(self->loop, &self->item);
    local_close(self->item.fd, self->path);
    if (self->spare != -1)
        close(self->spare);
    free(self->path);
    free(self);
}

json_t *admin_ask(const char *path, const char *command, fault_t *fault)
{
    int fd = local_connect(path, NULL);
    if (fd == -1) {
        fault_set(fault, "%s: %s; %s", path, strerror(errno),
                  errno == EACCES ? "run this as root" : "is the service running?");
        return NULL;
    }
    struct timeval wait = {.tv_sec = ADMIN_WAIT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    json_t *answer = NULL;
    json_error_t error;
    if (dprintf(fd, "%s\n", command) < 0)
        fault_set(fault, "%s: %s", path, strerror(errno));
    else {
        answer = json_loadfd(fd, 0, &error);
        if (answer == NULL)
            fault_set(fault, "%s: no answer (is your user root or the service's?)", path);
    }
    close(fd);
    return answer;
}
