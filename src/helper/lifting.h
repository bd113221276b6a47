/* lifting - has fail2ban let go of addresses. Of a network only if fail2ban holds exactly that one:
 * else it would let go of all that lies in it. */
#ifndef BANMESH_HELPER_LIFTING_H
#define BANMESH_HELPER_LIFTING_H

#include "reply.h"

/* HELPER_LIFT */
void lifting_shared(reply_t *reply);

/* HELPER_LIFT_ALL */
void lifting_all(reply_t *reply);

#endif
