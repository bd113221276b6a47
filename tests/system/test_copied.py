"""A server that was copied with its keys, and what becomes of it once it has keys of its own; and
nodes that nobody can reach, which used to look fully connected."""

import os
import shutil
import subprocess

from mesh import Mesh, free_port, program, public_addresses, wait_until


def attention(node, words):
    return [line for line in node.status()["attention"] if words in line]


def copy_of(mesh, node):
    """The whole of a stopped node once more, at other ports; not started."""
    copy = mesh.add("copy", trusted=False)
    for part in ("state", "log"):
        shutil.rmtree(os.path.join(copy.dir, part))
        shutil.copytree(os.path.join(node.dir, part), os.path.join(copy.dir, part))
    for mine, theirs in ((copy.cert, node.cert), (copy.secret, node.secret)):
        shutil.copy2(theirs, mine)
    copy.settings = {"node": {"name": node.name}}
    copy.write_settings()
    return copy


def test_one_key_at_two_places_is_noticed_by_all_and_ends_with_keys_of_its_own(tmp_path):
    before, after, theirs = (public_addresses(5, seed=n) for n in (71, 72, 73))
    mesh = Mesh(tmp_path, ["mx1", "mx2"], heartbeat=100)
    mx1, mx2 = mesh.nodes
    try:
        mx1.start()
        mx2.start()
        for address in before:
            mx1.publish(address)
        mx2.wait_reported(before)
        mx1.stop()
        copy = copy_of(mesh, mx1)
        mx1.start()
        copy.start()
        wait_until(lambda: attention(mx2, "mx1: its key is in use at two places at once"),
                   "the peer to notice")
        for host in (mx1, copy):
            wait_until(lambda node=host: attention(node, "this host's key is in use at another "
                                                         "place, too (127.0.0.1, says mx2)"),
                       "both to be told")
        assert mx2.output().count("two places at once") == 1

        # Keys of its own, as README says. What it has in own.db is mx1's.
        copy.stop()
        for name in (copy.cert, copy.secret):
            os.unlink(name)
        subprocess.run([program("banmesh"), "keygen", "mx3", "--dir", copy.dir, "--endpoint",
                        copy.listen, "--replay", copy.replay], check=True, stdout=subprocess.DEVNULL)
        copy.cert = os.path.join(copy.dir, "mx3.cert")
        copy.settings = {"node": {"name": "mx3", "secret": copy.cert + "_secret"}}
        copy.name = "mx3"
        copy.write_settings()
        mesh.add_trust(copy)
        copy.start()
        for address in after:
            mx1.publish(address)
        for address in theirs:
            copy.publish(address)
        mx2.wait_reported(before + after + theirs)
        copy.wait_reported(after)
        feeds = [feed for feed in copy.status()["mesh"]["feeds"] if feed["origin"] == "mx1"]
        wait_until(lambda: all(feed["applied"] == feed["have"] == feed["head"] for feed in
                               copy.status()["mesh"]["feeds"] if feed["origin"] == "mx1"),
                   lambda: "all of mx1's to be decided: %s" % feeds)
        assert sum(feed["have"] for feed in feeds) >= 2
        outcomes = copy.status()["outcomes"]
        assert outcomes["applied"] + outcomes.get("already-held", 0) >= len(before + after)
        copy.stop()
        copy.start()  # and nothing is missing from own.db
        assert "damaged" not in copy.output()
        copy.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])
    finally:
        mesh.stop()


def test_a_restart_is_no_second_place(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"], heartbeat=100) as mesh:
        mx1, mx2 = mesh.nodes
        for _ in range(4):
            mx1.stop()
            mx1.start()
            mx1.wait_connected()
            surveys = mx2.messages()["surveys_answered"]
            wait_until(lambda: mx2.messages()["surveys_answered"] > surveys, "its survey")
        assert not attention(mx2, "two places") and not attention(mx1, "another place")


def test_who_nobody_can_reach_sees_it(tmp_path):
    """Its own connections stand, so it looked fully connected; its bans reached nobody."""
    mesh = Mesh(tmp_path, ["mx1", "mx2"], heartbeat=100)
    mx1, mx2 = mesh.nodes
    nat = mesh.add("nat", trusted=False)
    os.unlink(nat.cert)
    os.unlink(nat.secret)
    closed = ["tcp://127.0.0.1:%d" % free_port() for _ in range(2)]  # nobody listens there
    subprocess.run([program("banmesh"), "keygen", "nat", "--dir", nat.dir, "--endpoint", closed[0],
                    "--replay", closed[1]], check=True, stdout=subprocess.DEVNULL)
    mesh.add_trust(nat)
    try:
        for node in mesh.nodes:
            node.start()
        nat.wait_connected(["mx1", "mx2"])
        wait_until(lambda: len(attention(nat, "has not heard this node for")) == 2, "both to say so")
        assert nat.peers()["mx1"]["heard_by_ms_ago"] == -1
        wait_until(lambda: 0 <= mx1.peers()["mx2"].get("heard_by_ms_ago", -1) < 10000,
                   "the others to hear each other")
        assert not attention(mx1, "has not heard this node") and "never" in nat.status_text()
        # It offers instead.
        nat.stop()
        nat.write_settings({"mesh": {"offer": 1}})
        nat.start()
        wait_until(lambda: nat.peers()["mx1"].get("heard_by_ms_ago", -1) >= 0 and
                   nat.peers()["mx2"].get("heard_by_ms_ago", -1) >= 0, "its offers to be heard")
        assert not attention(nat, "has not heard this node")
    finally:
        mesh.stop()
