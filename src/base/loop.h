/* loop - CZMQ's zloop, for those who only pass it on. Who uses it includes czmq.h. */
#ifndef BANMESH_BASE_LOOP_H
#define BANMESH_BASE_LOOP_H

/* The name is CZMQ's. NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
typedef struct _zloop_t zloop_t;

#endif
