"""The way of a ban, from the hook on one node to the shared logs of the others."""

import os
import re
import signal
import sqlite3
import time

from mesh import Mesh, public_addresses, wait_until

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z: (\S+): reported by (\S+) in (\S+) "
                  r"for (\d+) s until (\d+) nid (\d+)$")


def test_a_ban_reaches_every_other_node_once(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        mx1.publish("45.154.244.193", jail="sshd", bantime=3600, time="1795288025.0")
        mx1.publish("2a02:4780:10::7", jail="postfix", bantime=-1)
        for node in (mx2, mx3):
            node.wait_reported(["2a02:4780:10::7"])
            assert LINE.match(node.lines()[0]).group(4) == "31536000", "for ever ends at max-ban"
        assert mx2.reported() == mx3.reported()
        assert "45.154.244.193" not in mx2.reported(), "that ban ended long ago"
        mx1.publish("45.154.244.193", jail="sshd", bantime=3600)
        for node in (mx2, mx3):
            node.wait_reported(["45.154.244.193"])
            match = LINE.match(node.lines()[-1])
            assert match and match.group(1, 2, 3, 4) == ("45.154.244.193", "mx1", "sshd", "3600")
            assert abs(int(match.group(5)) - time.time() - 3600) < 60
        assert mx2.lines()[-1].split(" nid ")[1] == mx3.lines()[-1].split(" nid ")[1]
        assert mx1.lines() == [], "a node never hears its own bans"
        assert mx2.status()["outcomes"]["expired"] == 1


def test_a_repeated_hook_call_changes_nothing(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        now = "%.7f" % time.time()
        for _ in range(3):
            mx1.publish("80.94.95.112", time=now, bantime=600)
        mx1.publish("80.94.95.113", time=now, bantime=600)
        mx2.wait_reported(["80.94.95.113"])
        assert mx2.reported() == ["80.94.95.112", "80.94.95.113"]
        assert mx1.status()["intake"] == {"stored": 2, "repeated": 2}


def test_a_prolonged_ban_keeps_its_nid_and_adds_no_line(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        now = "%.3f" % time.time()
        mx1.publish("80.94.95.112", time=now, bantime=600)
        mx1.publish("80.94.95.112", time=now, bantime=86400)
        mx1.publish("80.94.95.113")
        mx2.wait_reported(["80.94.95.113"])
        assert mx2.reported() == ["80.94.95.112", "80.94.95.113"]
        assert mx1.status()["intake"]["prolonged"] == 1
        assert mx2.status()["outcomes"]["already-held"] == 1


def test_a_node_that_was_stopped_has_everything_afterwards(tmp_path):
    addresses = public_addresses(108, seed=20261121)
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        for address in addresses[:20]:
            mx1.publish(address)
        mx3.wait_reported(addresses[:20])
        mx3.stop()
        for address in addresses[20:]:
            mx1.publish(address)
        mx2.wait_reported(addresses)
        mx3.start()
        mx3.wait_reported(addresses)
        assert sorted(mx2.reported()) == addresses
        assert sorted(mx3.reported()) == addresses


def test_a_late_joiner_gets_what_was_before_it(tmp_path):
    addresses = public_addresses(300, seed=4)
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    with mesh:
        mx1 = mesh.nodes[0]
        for address in addresses[:150]:
            mx1.publish(address)
        mx1.stop()
        mx1.start()  # a second epoch, so that the joiner must learn of both
        for address in addresses[150:]:
            mx1.publish(address)
        late = mesh.add("mx3").start()
        late.wait_reported(addresses)
        assert sorted(late.reported()) == addresses
        assert len(late.status()["mesh"]["feeds"]) == 2


def test_many_epochs_are_learnt_with_few_surveys(tmp_path):
    """Each epoch that a survey brought used to call for another survey."""
    addresses = public_addresses(12, seed=12)
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0].start()
    try:
        for address in addresses:
            mx1.publish(address)
            mx1.stop()
            mx1.start()
        late = mesh.add("mx2").start()
        late.wait_reported(addresses)
        def running(node):
            """Most may have been copied forward by now, and ended."""
            return {feed["epoch"] for feed in node.status()["mesh"]["feeds"] if not feed["ended"]}
        wait_until(lambda: running(late) == running(mx1), "all epochs that count")
        # One at the connection, one at the epoch that was announced, one every 30 s.
        assert mx1.status()["mesh"]["messages"]["surveys_answered"] <= 4
    finally:
        mesh.stop()


def test_what_a_dead_origin_announced_comes_from_a_third_node(tmp_path):
    addresses = public_addresses(30, seed=5)
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    with mesh:
        mx1, mx2 = mesh.nodes
        for address in addresses:
            mx1.publish(address)
        mx2.wait_reported(addresses)
        # The newest head is kept by mx2 with the next heartbeat; then mx1 is gone for good.
        wait_until(lambda: mx2.status()["mesh"]["messages"]["heads"] >= 2 and
                   mx2.status()["mesh"]["feeds"][0]["have"] == 30, "heads on mx2")
        seen = mx2.status()["mesh"]["messages"]["heads"]
        wait_until(lambda: mx2.status()["mesh"]["messages"]["heads"] > seen + 1, "a later head")
        mx1.stop(signal.SIGKILL)
        late = mesh.add("mx3").start()
        late.wait_reported(addresses)
        assert sorted(late.reported()) == addresses


def test_the_spool_keeps_bans_while_the_daemon_is_down(tmp_path):
    addresses = public_addresses(25, seed=6)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.stop()
        for address in addresses:
            mx1.publish(address)
        assert len(open(os.path.join(mx1.spool, "spool"), encoding="ascii").readlines()) == 25
        mx1.start()
        mx2.wait_reported(addresses)
        assert mx2.reported() == addresses, "oldest first"
        assert os.listdir(mx1.spool) == []


def test_the_spool_is_taken_in_while_the_daemon_runs(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        socket, mx1.socket = mx1.socket, "/nonexistent/publish.sock"
        mx1.publish("80.94.95.112")
        mx1.socket = socket
        mx2.wait_reported(["80.94.95.112"])
        assert mx1.status()["intake"]["from-spool"] == 1


def test_acknowledged_bans_survive_kill_9_of_the_origin(tmp_path):
    addresses = public_addresses(40, seed=7)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx2.stop()
        for i, address in enumerate(addresses):
            mx1.publish(address)
            if i % 10 == 9:
                mx1.stop(signal.SIGKILL)
                mx1.start()
        mx2.start()
        mx2.wait_reported(addresses)
        assert sorted(mx2.reported()) == addresses
        epochs = [feed["epoch"] for feed in mx2.status()["mesh"]["feeds"]]
        assert len(epochs) == len(set(epochs)) == 4


def test_a_restart_writes_no_line_again(tmp_path):
    addresses = public_addresses(50, seed=8)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        for address in addresses:
            mx1.publish(address)
        mx2.wait_reported(addresses)
        for _ in range(2):
            mx2.stop()
            mx2.start()
        mx1.publish(addresses[0], jail="postfix")  # held already: by the rows of the first run
        mx1.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])
        assert sorted(mx2.reported()) == sorted(addresses + ["80.94.95.112"])
        assert mx2.status()["outcomes"]["already-held"] == 1


def test_more_than_the_queues_hold_is_caught_up(tmp_path):
    """PUB drops behind 128 messages: a node that hung meanwhile sees the gap and fetches."""
    addresses = public_addresses(1500, seed=9)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx2.process.process.send_signal(signal.SIGSTOP)
        stream(mx1, addresses, group=1)
        mx2.process.process.send_signal(signal.SIGCONT)
        mx2.wait_reported(addresses)
        assert sorted(mx2.reported()) == addresses


def stream(node, addresses, group=200, jail="sshd"):
    """Ban many addresses as of now."""
    now = time.time()
    return node.stream([(address, jail, now) for address in addresses], group)


def test_a_connection_may_stream_and_is_answered_in_order(tmp_path):
    addresses = public_addresses(2000, seed=10)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        answers = stream(mx1, addresses[:1000] + ["10.0.0.1", "999.1.1.1"] + addresses[1000:])
        assert [answer.split()[0] for answer in answers] == (
            ["ok"] * 1000 + ["skipped", "malformed"] + ["ok"] * 1000)
        mx2.wait_reported(addresses)
        # What waited together went out together.
        assert mx1.status()["mesh"]["feeds"][0]["have"] < 1000


def test_a_short_local_ban_does_not_swallow_a_long_one(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx2.publish("80.94.95.112", jail="nginx", bantime=4)
        mx1.publish("80.94.95.112", jail="sshd", bantime=7200)
        mx2.wait_reported(["80.94.95.112"])
        assert mx2.status()["running"] == 2 and mx2.status()["held"] == 1


def test_a_ban_longer_than_the_jails_is_written_again(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"], extra={"shared": {"bantime": 2}}) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish("80.94.95.112", bantime=3600)
        wait_until(lambda: len(mx2.reported()) >= 3, "the line again when the jail let go")
        assert set(mx2.reported()) == {"80.94.95.112"}
        nids = {line.split(" nid ")[1] for line in mx2.lines()}
        assert len(nids) == 1


def test_ban_of_a_stopped_and_restarted_peer_survives_rotation(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])
        os.rename(mx2.shared_log, mx2.shared_log + ".1")
        mx1.publish("80.94.95.113")
        mx2.wait_reported(["80.94.95.113"])
        # fail2ban may not have read the first one yet when the file was renamed.
        assert mx2.reported() == ["80.94.95.112", "80.94.95.113"]


def test_no_accepted_ban_is_missing_when_the_log_could_not_be_written(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        folder = os.path.dirname(mx2.shared_log)
        os.rename(folder, folder + ".away")
        mx1.publish("80.94.95.112")
        wait_until(lambda: not mx2.status()["shared_log"]["writable"], "the trouble to be seen")
        mx1.publish("80.94.95.113")
        os.rename(folder + ".away", folder)
        mx2.wait_reported(["80.94.95.112", "80.94.95.113"])
        assert sorted(mx2.reported()) == ["80.94.95.112", "80.94.95.113"]
        assert mx2.output().count("peers' bans wait") == 1, "said once, not each second"


def test_no_line_is_repeated_while_the_state_cannot_be_written(tmp_path):
    """The lines are in the log, the cursor cannot follow: what is decided again is not written
    again. An operator's sqlite3 that holds the database stands for a full disk."""
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        folder = os.path.dirname(mx2.shared_log)
        os.rename(folder, folder + ".away")
        mx1.publish("80.94.95.112")
        wait_until(lambda: not mx2.status()["shared_log"]["writable"], "the ban to wait")
        other = sqlite3.connect(os.path.join(mx2.dir, "state", "peers.db"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        os.rename(folder + ".away", folder)
        mx2.wait_reported(["80.94.95.112"])
        for _ in range(3):  # each answer comes after another attempt
            assert not mx2.status()["shared_log"]["writable"]
        other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: mx2.status()["shared_log"]["writable"], "the rows to follow")
        assert mx2.status()["outcomes"]["applied"] == 1
        assert mx2.reported() == ["80.94.95.112"]
