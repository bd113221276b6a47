"""How long a ban holds on the others: as long as its origin says, with real fail2ban at the end."""

import os
import time

import pytest

from fail2ban_server import Fail2banServer
from mesh import Mesh, wait_until
from test_pardon import why

WEEK = 604800


def shared_jail(node, bantime=WEEK, action="nothing"):
    """fail2ban with the jail [shared] of a node; its socket is where the node looks."""
    open(node.shared_log, "a", encoding="ascii").close()
    jails = "[shared]\nlogpath = %s\nbantime = %d\naction = %s\n" % (
        node.shared_log, bantime, action)
    return Fail2banServer(os.path.join(node.dir, "f2b"), jails)


def wait_free(server, address, timeout=60):
    wait_until(lambda: address not in server.banned("shared"),
               lambda: "%s to be let go\n%s" % (address, server.log_text()[-2000:]), timeout)


def test_a_ban_ends_on_the_others_when_its_origin_says_though_the_jail_says_a_week(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        with shared_jail(mx2) as two, shared_jail(mx3) as three:
            ends = time.time() + 8
            mx1.publish("45.154.1.1", bantime=8, time="%.3f" % (ends - 8))
            mx1.publish("45.154.1.2", bantime=WEEK)
            for server in (two, three):
                server.wait_banned("shared", ["45.154.1.1", "45.154.1.2"])
            for node, server in ((mx2, two), (mx3, three)):
                wait_free(server, "45.154.1.1")
                assert time.time() >= ends, "not before its time"
                assert server.banned("shared") == ["45.154.1.2"]
                wait_until(lambda node=node: node.status()["held"] == 1, "the books to agree")
                assert node.status()["let_go"] == 1


@pytest.mark.parametrize("away", ["node", "fail2ban", "both"])
def test_it_ends_though_somebody_was_away_when_it_should_have(tmp_path, away):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        two = shared_jail(mx2)
        two.start()
        try:
            mx1.publish("45.154.1.1", bantime=6)
            mx1.publish("45.154.1.2", bantime=WEEK)
            two.wait_banned("shared", ["45.154.1.1", "45.154.1.2"])
            if away in ("node", "both"):
                mx2.stop()
            if away in ("fail2ban", "both"):
                two.stop()
            time.sleep(7)
            if away in ("fail2ban", "both"):
                two.start()
                two.wait_banned("shared", ["45.154.1.2"])
            if away in ("node", "both"):
                mx2.start()
            wait_free(two, "45.154.1.1")
            assert two.banned("shared") == ["45.154.1.2"]
        finally:
            two.stop()


def test_a_ban_of_twice_the_jails_time_outlives_it_without_a_gap(tmp_path):
    """The jail holds for 16 s, the ban lasts for 40: the line is written again two seconds before."""
    with Mesh(tmp_path, ["mx1", "mx2"], extra={"shared": {"bantime": 16}}) as mesh:
        mx1, mx2 = mesh.nodes
        with shared_jail(mx2, bantime=16) as two:
            begun = time.time()
            mx1.publish("45.154.1.1", bantime=40, time="%.3f" % begun)
            two.wait_banned("shared", ["45.154.1.1"])
            while time.time() < begun + 20:
                assert two.banned("shared") == ["45.154.1.1"], two.log_text()[-2000:]
                time.sleep(0.5)
            mx2.stop()
            mx2.start()
            while time.time() < begun + 37:
                assert two.banned("shared") == ["45.154.1.1"], two.log_text()[-2000:]
                time.sleep(0.5)
            wait_free(two, "45.154.1.1")
            assert time.time() >= begun + 40


def test_a_longer_ban_of_another_node_holds_beyond_the_shorter_one(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        with shared_jail(mx2) as two:
            mx1.publish("45.154.1.1", bantime=4)
            mx3.publish("45.154.1.1", bantime=14, jail="postfix")
            two.wait_banned("shared", ["45.154.1.1"])
            ends = time.time() + 8
            while time.time() < ends:
                assert two.banned("shared") == ["45.154.1.1"]
                time.sleep(0.5)
            wait_free(two, "45.154.1.1")


def test_a_prolonged_ban_holds_for_the_longer_time(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with shared_jail(mx2) as two:
            when = "%.3f" % time.time()
            mx1.publish("45.154.1.1", bantime=5, time=when)
            two.wait_banned("shared", ["45.154.1.1"])
            mx1.publish("45.154.1.1", bantime=3600, time=when)
            wait_until(lambda: mx2.status()["outcomes"].get("already-held"), "the longer one")
            time.sleep(8)
            assert two.banned("shared") == ["45.154.1.1"]


def test_fail2ban_without_a_lasting_database_gets_all_again(tmp_path):
    """Its log was rotated since, so it does not find them there either."""
    held = ["45.154.11.%d" % i for i in range(1, 6)]
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with shared_jail(mx2) as two:
            for address in held:
                mx1.publish(address, bantime=WEEK)
            two.wait_banned("shared", held)
        os.rename(mx2.shared_log, mx2.shared_log + ".1")
        os.unlink(os.path.join(str(two.directory), "fail2ban.sqlite3"))
        wait_until(lambda: os.path.exists(mx2.shared_log), "the new log")
        open(mx2.shared_log, "w", encoding="ascii").close()  # what was doubtful is lost, too
        with two:
            # Lines of the last minute may be unread: only what is older is missed for sure.
            two.wait_banned("shared", held, timeout=200)


def test_lines_of_ended_bans_that_fail2ban_reads_again_hold_nobody(tmp_path):
    """fail2ban notes late how far it has read: killed, or after a power loss, it takes old lines for
    new, and would hold for a week what had ended long ago."""
    ended = ["45.154.13.%d" % i for i in range(1, 6)]
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with shared_jail(mx2) as two:
            mx1.publish("45.154.13.9", bantime=WEEK)
            for address in ended:
                mx1.publish(address, bantime=8)
            two.wait_banned("shared", ended)
            for address in ended:
                wait_free(two, address)
            # Not until it is asked for no more is it forgotten that these were held.
            wait_until(lambda: all(why(mx2, address)["hold"] is None for address in ended),
                       "them to be forgotten", 150)
        mx2.stop()
        os.unlink(os.path.join(str(two.directory), "fail2ban.sqlite3"))
        with two:
            two.wait_banned("shared", ["45.154.13.9", *ended])
            mx2.start()
            for address in ended:
                wait_free(two, address, 100)
            wait_until(lambda: (mx2.status()["census"] or {}).get("not_of_the_mesh") == 0,
                       lambda: str(mx2.status()["census"]), 100)
            assert two.banned("shared") == ["45.154.13.9"]


def test_what_is_held_and_not_of_the_mesh_is_left_alone(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with shared_jail(mx2) as two:
            two.client("set", "shared", "banip", "45.154.12.1")
            mx1.publish("45.154.12.2", bantime=WEEK)
            two.wait_banned("shared", ["45.154.12.1", "45.154.12.2"])
            mx2.stop()
            mx2.start()
            wait_until(lambda: mx2.status()["census"], "it to be compared", 100)
            census = mx2.status()["census"]
            assert census["tickets"] == 2 and census["not_of_the_mesh"] == 1
            assert two.banned("shared") == ["45.154.12.1", "45.154.12.2"]
