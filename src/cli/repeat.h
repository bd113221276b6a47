/* repeat - for commands that go on until somebody ends them: Ctrl-C, or the reader of their output
 * goes. */
#ifndef BANMESH_CLI_REPEAT_H
#define BANMESH_CLI_REPEAT_H

/* From now on SIGINT, SIGTERM and a closed pipe end the process at once, quietly, with status 0. */
void repeat_begin(void);

/* Hand over what was printed, and wait. Does not return if nobody reads it any more. */
void repeat_wait(int ms);

#endif
