/* packets - several packets of a SOCK_SEQPACKET socket with one system call: at a stream of
 * requests the calls cost more than what is done with them. Knows nothing of their content. */
#ifndef BANMESH_NODE_PACKETS_H
#define BANMESH_NODE_PACKETS_H

#include <stddef.h>
#include <sys/socket.h>

#define PACKETS_MAX 64 /* in one call */

typedef struct packets packets_t;

/* Room for packets of up to so many bytes; longer ones are cut. */
packets_t *packets_new(size_t size);
void packets_destroy(packets_t **self_p);

/* Take what is there. Returns how many, -1 and errno (EAGAIN: nothing). The end of the connection
 * comes as an empty packet, behind which nothing counts. */
int packets_receive(packets_t *self, int fd);

/* One of them, from 0; until the next packets_receive. */
const char *packets_at(const packets_t *self, int index, size_t *size);

/* Send up to PACKETS_MAX, as many as the other side has room for. Returns how many; if not all,
 * errno says why. */
size_t packets_send(int fd, struct iovec *packets, size_t count);

#endif
