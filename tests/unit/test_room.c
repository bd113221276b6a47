/* state, ballast: with the disk full nothing is lost and nothing is taken in, what makes room goes
 * on, and all is as before once there is room. On a real small file system of our own. */
#include "ballast.h"
#include "damage.h"
#include "feeds.h"
#include "replica.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DISK        "size=40m"
#define BATCH_BYTES 60000

static uint8_t large[BATCH_BYTES];

/* A namespace of mounts that only this process has. False if the system does not permit it. */
static bool enter_namespace(void)
{
    static bool is_in;
    if (!is_in)
        is_in =
            unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return is_in;
}

static int start(void **state)
{
    if (support_enter(state) == -1)
        return -1;
    support_make_directory("state");
    if (enter_namespace() && mount("banmesh-test", "state", "tmpfs", 0, DISK) == -1)
        return -1;
    return 0;
}

static int end(void **state)
{
    umount2("state", MNT_DETACH);
    return support_leave(state);
}

#define on_small_disk(name) cmocka_unit_test_setup_teardown(name, start, end)
#define NEEDS_MOUNT                                                                                \
    if (!enter_namespace())                                                                        \
    skip()

static int64_t room(void)
{
    struct statvfs status;
    assert_int_equal(statvfs("state", &status), 0);
    return (int64_t)status.f_bavail * (int64_t)status.f_frsize;
}

/* Somebody else's file takes all room but some. */
static void fill_disk(int64_t but)
{
    int fd = open("state/other", O_WRONLY | O_CREAT | O_APPEND, 0600);
    static char block[4096];
    while (room() > but && write(fd, block, sizeof block) == sizeof block)
        continue;
    close(fd);
}

static int store_large(feed_t *feed, const feed_ref_t *ref)
{
    memset(large, (int)(ref->have % 251), sizeof large);
    db_t *db = ref->own_db ? feed_own_db(feed) : feed_peers_db(feed);
    if (db_begin(db) == 0 && feed_store(feed, ref, ref->have + 1, large, sizeof large) == 0 &&
        db_commit(db) == 0)
        return 0;
    int saved = errno;
    db_rollback(db);
    feed_forget(feed);
    errno = saved;
    return -1;
}

static void store_until_full(feed_t *feed, const feed_ref_t *ref)
{
    uint64_t limit = ref->have + 2000;
    while (store_large(feed, ref) == 0)
        assert_true(ref->have < limit);
    assert_int_equal(errno, ENOSPC);
}

static void assert_holds_all(feed_t *feed, const feed_ref_t *ref)
{
    const uint8_t *bytes;
    for (uint64_t seq = ref->floor; seq <= ref->have; seq++) {
        memset(large, (int)((seq - 1) % 251), sizeof large);
        assert_int_equal(feed_read(feed, ref, seq, &bytes), sizeof large);
        assert_memory_equal(bytes, large, sizeof large);
    }
}

static state_change_t tend(feed_t *feed)
{
    return state_tend(feed_state(feed));
}

TEST(ballast_is_made_where_there_is_room)
{
    NEEDS_MOUNT;
    feed_t *feed = feeds_open();
    assert_int_equal(damage_size("state/ballast"), BALLAST_BYTES);
    feed_close(&feed);
    assert_int_equal(unlink("state/ballast"), 0);
    fill_disk(2 * BALLAST_BYTES);
    feed = feeds_open();
    assert_int_equal(damage_size("state/ballast"), 0);
    assert_int_equal(tend(feed), STATE_AS_BEFORE);
    feed_close(&feed);
}

TEST(a_disk_that_others_filled_is_told_of_once_and_so_is_its_room)
{
    NEEDS_MOUNT;
    feed_t *feed = feeds_open();
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    assert_int_equal(store_large(feed, own), 0);
    fill_disk(0);
    store_until_full(feed, own);
    uint64_t have = own->have;
    assert_int_equal(tend(feed), STATE_BECAME_FULL);
    assert_true(state_is_full(feed_state(feed)));
    fill_disk(0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(tend(feed), STATE_AS_BEFORE);
        assert_int_equal(store_large(feed, own), -1);
        assert_int_equal(errno, ENOSPC);
        assert_int_equal(own->have, have);
    }
    feed_id_t id = feeds_peer_id(9, FEEDS_T0);
    assert_null(feed_add(feed, &id));
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(unlink("state/other"), 0);
    assert_int_equal(tend(feed), STATE_HAS_ROOM);
    assert_int_equal(tend(feed), STATE_AS_BEFORE);
    assert_false(state_is_full(feed_state(feed)));
    assert_int_equal(store_large(feed, own), 0);
    assert_int_equal(own->have, have + 1);
    assert_holds_all(feed, own);
    feeds_reopen(&feed);
    assert_int_equal(feed_own_newest(feed)->have, have + 1);
    feed_close(&feed);
}

/* What the ballast leaves is not for new bans, but for what makes room. */
TEST(what_makes_room_goes_on_with_the_disk_full)
{
    NEEDS_MOUNT;
    feed_t *feed = feeds_open();
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(store_large(feed, peer), 0);
    fill_disk(0);
    store_until_full(feed, peer);
    assert_int_equal(tend(feed), STATE_BECAME_FULL);
    db_t *db = feed_peers_db(feed);
    assert_int_equal(db_begin(db), -1);
    assert_int_equal(db_begin_freeing(db), 0);
    uint64_t have = peer->have;
    assert_int_equal(feed_keep_head(feed, peer, &(feed_mark_t){have + 500, have + 1, 0},
                                    (const uint8_t *)"head", 4),
                     1);
    sqlite3_stmt *drop = db_prepare(db, "DELETE FROM batch");
    assert_int_equal(db_step(db, drop), 0);
    assert_int_equal(db_changed(db), (int)have);
    assert_int_equal(db_commit(db), 0);
    feed_close(&feed);
}

/* The file does not shrink, but what was dropped from it makes room inside. */
TEST(a_disk_that_we_filled_ourselves_has_room_after_dropping)
{
    NEEDS_MOUNT;
    feed_t *feed = feeds_open();
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    for (int round = 0; round < 4; round++) {
        store_until_full(feed, peer);
        assert_int_equal(tend(feed), STATE_BECAME_FULL);
        assert_holds_all(feed, peer);
        db_t *db = feed_peers_db(feed);
        assert_int_equal(db_begin_freeing(db), 0);
        uint64_t floor = peer->have - 5;
        sqlite3_stmt *drop = db_prepare(db, "DELETE FROM batch WHERE (id & 1099511627775) < ?");
        sqlite3_bind_int64(drop, 1, (int64_t)floor);
        assert_int_equal(db_step(db, drop), 0);
        assert_int_equal(feed_keep_head(feed, peer, &(feed_mark_t){peer->have, floor, 0},
                                        (const uint8_t *)"head", 4),
                         1);
        assert_int_equal(db_commit(db), 0);
        assert_int_equal(tend(feed), STATE_HAS_ROOM);
        for (int i = 0; i < 300; i++)
            assert_int_equal(store_large(feed, peer), 0);
        assert_int_equal(tend(feed), STATE_AS_BEFORE);
    }
    feed_close(&feed);
}

TEST(a_start_on_a_full_disk_takes_the_ballast)
{
    NEEDS_MOUNT;
    feed_t *feed = feeds_open();
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    assert_int_equal(store_large(feed, own), 0);
    feed_close(&feed);
    fill_disk(0);
    feed = feeds_open();
    assert_true(state_is_full(feed_state(feed)));
    own = feed_own_newest(feed);
    assert_holds_all(feed, own);
    assert_null(feed_own(feed, feeds_at(FEEDS_T0 + 9)));
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(tend(feed), STATE_BECAME_FULL);
    assert_int_equal(tend(feed), STATE_AS_BEFORE);
    assert_int_equal(unlink("state/other"), 0);
    assert_int_equal(tend(feed), STATE_HAS_ROOM);
    assert_int_equal(store_large(feed, feed_own(feed, feeds_at(FEEDS_T0 + 9))), 0);
    feed_close(&feed);
}

TEST(a_first_start_on_a_full_disk_is_refused_in_words)
{
    NEEDS_MOUNT;
    fill_disk(0);
    assert_non_null(strstr(feeds_open_fault(), "state/"));
    assert_int_equal(unlink("state/other"), 0);
    feed_t *feed = feeds_open();
    assert_string_equal(state_note(feed_state(feed), 0) != NULL ? "a note" : "", "");
    feed_close(&feed);
}

/* It is a want of room, not a failing disk, whatever SQLite calls it: a quota, and its
 * shared-memory file, look like I/O errors. */
TEST(no_room_for_the_shared_memory_is_no_io_error)
{
    NEEDS_MOUNT;
    feed_t *feed = feeds_open();
    feed_close(&feed);
    assert_int_equal(unlink("state/ballast"), 0);
    fill_disk(0);
    feed = feed_open("state", &feeds_self, &replica_tables, NULL);
    assert_null(feed);
    assert_int_equal(errno, ENOSPC);
    assert_false(support_exists("state/own.db-check"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        on_small_disk(ballast_is_made_where_there_is_room),
        on_small_disk(a_disk_that_others_filled_is_told_of_once_and_so_is_its_room),
        on_small_disk(what_makes_room_goes_on_with_the_disk_full),
        on_small_disk(a_disk_that_we_filled_ourselves_has_room_after_dropping),
        on_small_disk(a_start_on_a_full_disk_takes_the_ballast),
        on_small_disk(a_first_start_on_a_full_disk_is_refused_in_words),
        on_small_disk(no_room_for_the_shared_memory_is_no_io_error),
    };
    return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
