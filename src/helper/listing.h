/* listing - what fail2ban's jails hold, read and do. Sent on while fail2ban's answer comes. */
#ifndef BANMESH_HELPER_LISTING_H
#define BANMESH_HELPER_LISTING_H

#include "reply.h"

/* HELPER_LIST. What is no address (a jail may ban anything) is passed over. */
void listing_tickets(reply_t *reply);

/* HELPER_JAILS */
void listing_jails(reply_t *reply);

#endif
