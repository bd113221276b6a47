"""The aggregator over real processes: every ban is in the store, once, whatever happens to it."""

import json
import os
import re
import signal
import subprocess
import time

from mesh import ROOT, Mesh, free_port, program, public_addresses, wait_until
from store import Model, Store, add_aggregator, bans_of, make_country_db, stream

COUNTRIES = {"45.0.0.0/8": "NL", "62.0.0.0/8": "DE", "80.0.0.0/8": "FR", "91.0.0.0/8": "RU",
             "2a02:4780::/32": "LT"}


def check(aggregator):
    """Run --check; returns its status and what it said."""
    done = subprocess.run([program("banmesh-aggregator"), "--config", aggregator.conf, "--check"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


# ---- what is written ----

def test_a_ban_is_in_every_family_of_keys(tmp_path):
    country = make_country_db(tmp_path / "country.mmdb", COUNTRIES, "--built", "1795000000")
    asn = make_country_db(tmp_path / "asn.mmdb", {"45.154.244.0/22": "- 64500 Example <Networks>"},
                          "--asn", "--built", "1795100000")
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1", "mx2"])
        aggregator = add_aggregator(mesh, [store], country, geoip={"asn": asn})
        with mesh:
            mx1, mx2, _ = mesh.nodes
            mx1.publish("45.154.244.193", jail="sshd", time="1795288025.123", failures=5,
                        port="ssh", protocol="tcp")
            mx2.publish("2a02:4780:10::7", jail="postfix", time=1795288025, bantime=-1)
            mx2.publish("212.1.2.3", jail="sshd", time=1795219199)
            store.wait_holds(["45.154.244.193", "2a02:4780:10::7", "212.1.2.3"], aggregator)
            nid = store.nid_of("45.154.244.193")
            assert store.attempt(nid) == {
                "jail": "sshd", "ip": "45.154.244.193", "country": "NL", "timestamp": "1795288025",
                "node": "mx1", "bantime": "3600", "expires": "1795291625", "port": "ssh",
                "protocol": "tcp", "failures": "5", "network": "45.154.244.0/22", "asn": "64500"}
            assert json.loads(store.call("GET", "f2b:net:45.154.244.0/22")) == {
                "country": "NL", "asn": 64500, "org": "Example <Networks>", "built": 1795000000}
            assert store.members("NL") == store.members("asn:64500") == {nid}
            assert store.members("2026-11-21:country:NL") == {nid}
            assert store.count("node:mx2") == 2
            assert store.call("ZRANGE", "f2b:active", "0", "-1") == [store.nid_of("2a02:4780:10::7")]
            assert store.call("ZSCORE", "f2b:2026-11-21:top:net", "45.154.244.0/22") == "1"
            assert store.count("sshd") == 2
            assert store.members("2026-11-21") == {nid, store.nid_of("2a02:4780:10::7")}
            assert store.members("XX") == {store.nid_of("212.1.2.3")}, "not in the database"
            forever = store.attempt(store.nid_of("2a02:4780:10::7"))
            assert forever["bantime"] == "-1" and forever["expires"] == "253402300799"
            assert forever["country"] == "LT" and forever["node"] == "mx2"
            assert len(store.check_whole()) == 3
            status = aggregator.status()
            assert status["store"]["connected"] and status["events"]["stored"] == 3
            assert status["country_db"]["loaded"]


def test_who_listens_hears_of_what_is_new(tmp_path):
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        listener = store.client()
        assert listener.call("SUBSCRIBE", "f2b:live")[2] == 1
        with mesh:
            mx1 = mesh.nodes[0]
            now = time.time()
            mx1.publish("45.1.1.1", time="%.3f" % (now - 120))  # no news
            mx1.publish("45.1.1.2", time="%.3f" % now, bantime=600)
            mx1.publish("45.1.1.2", time="%.3f" % now, bantime=900)  # longer, and no news
            mx1.publish("45.1.1.3", jail="postfix")
            heard = [json.loads(listener.read()[2]) for _ in range(2)]
            assert [one["ip"] for one in heard] == ["45.1.1.2", "45.1.1.3"]
            store.wait_holds(["45.1.1.1"], aggregator)
            assert heard[0] == {"event": "ban", "nid": store.nid_of("45.1.1.2"), "ip": "45.1.1.2",
                                "jail": "sshd", "node": "mx1", "country": "XX", "timestamp": int(now),
                                "bantime": heard[0]["bantime"],
                                "expires": int(now + heard[0]["bantime"])}
            assert heard[1]["jail"] == "postfix"
            # A store that comes back empty is filled again, and that is no news either.
            wait_until(lambda: aggregator.status()["behind"] == 0, "the cursor")
            aggregator.stop()
            aggregator.start()
            mx1.publish("45.1.1.4")
            assert json.loads(listener.read()[2])["ip"] == "45.1.1.4"
        listener.close()


def test_a_jail_named_like_another_key_keeps_its_nids_apart(tmp_path):
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            jails = ["XX", "bans", "2026-11-21", "45.1.2.3", "4611686018427387904", "xx"]
            addresses = public_addresses(len(jails), seed=3)
            for address, jail in zip(addresses, jails):
                mesh.nodes[0].publish(address, jail=jail, time=1795288025)
            store.wait_holds(addresses, aggregator)
            for address, jail in zip(addresses[:5], jails):
                assert store.members("jail:" + jail) == {store.nid_of(address)}
            assert store.members("xx") == {store.nid_of(addresses[5])}
            assert store.count("XX") == store.count("2026-11-21") == len(jails)


def test_the_day_is_that_of_the_settings_zone(tmp_path):
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store], history={"timezone": "Pacific/Auckland"})
        with mesh:
            mesh.nodes[0].publish("45.154.244.193", time=1795261500)  # 2026-11-21T11:45Z, +13 h
            store.wait_holds(["45.154.244.193"], aggregator)
            assert store.count("2026-11-22") == 1 and store.count("2026-11-21") == 0


def test_a_prolonged_ban_is_longer_and_still_one_attempt(tmp_path):
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            mx1 = mesh.nodes[0]
            now = int(time.time())
            mx1.publish("80.94.95.112", time=now, bantime=600)
            store.wait_holds(["80.94.95.112"], aggregator)
            nid = store.nid_of("80.94.95.112")
            mx1.publish("80.94.95.112", time=now, bantime=86400)
            wait_until(lambda: store.attempt(nid)["bantime"] == "86400", "the longer ban")
            assert store.attempt(nid)["expires"] == str(now + 86400)
            assert aggregator.status()["events"]["prolonged"] == 1
            # From the start again, over what is there: the short one must not come back.
            aggregator.stop()
            cursor = [key for key in store.call("KEYS", "banmesh:cursor:*")]
            assert len(cursor) == 1
            store.call("DEL", *cursor)
            aggregator.start()
            wait_until(lambda: store.call("EXISTS", *cursor) == 1, "the replay")
            assert aggregator.status()["events"]["stored"] == 0
            assert store.attempt(nid)["bantime"] == "86400"
            assert len(store.check_whole()) == 1


def test_special_addresses_are_counted_not_written(tmp_path):
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path)
        mx1 = mesh.add("mx1", settings={"guard": {"allow-special": 1}})
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            mx1.publish("10.1.2.3")
            mx1.publish("45.154.244.193")
            store.wait_holds(["45.154.244.193"], aggregator)
            assert not store.holds(["10.1.2.3"])
            assert aggregator.status()["events"] == {"stored": 1, "special": 1}


# ---- the store fails ----

def test_the_store_may_be_down_at_the_start_and_later(tmp_path):
    addresses = public_addresses(90, seed=11)
    store = Store(tmp_path)
    mesh = Mesh(tmp_path, ["mx1"])
    aggregator = add_aggregator(mesh, [store])
    with mesh:
        mx1 = mesh.nodes[0]
        stream(mx1, bans_of(addresses[:30]))
        wait_until(lambda: aggregator.status()["behind"] > 0, "bans that wait for a store")
        assert "No such file" in aggregator.status()["store"]["last_error"]
        with store:
            store.wait_holds(addresses[:30], aggregator)
            stream(mx1, bans_of(addresses[30:60]))
            store.wait_holds(addresses[:60], aggregator)
        stream(mx1, bans_of(addresses[60:]))
        wait_until(lambda: not aggregator.status()["store"]["connected"], "the loss")
        with store:
            store.wait_holds(addresses, aggregator)
            assert len(store.check_whole()) == 90
        said = aggregator.output()
        assert said.count("No such file") + said.count("Connection refused") <= 3, said


def test_a_store_that_came_back_empty_is_filled_again(tmp_path):
    addresses = public_addresses(1500, seed=12)
    country = make_country_db(tmp_path / "country.mmdb", COUNTRIES)
    store = Store(tmp_path)
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    aggregator = add_aggregator(mesh, [store], country)
    with mesh:
        mx1, mx2, _ = mesh.nodes
        with store:
            stream(mx1, bans_of(addresses[:1000]))
            stream(mx2, bans_of(addresses[1000:]))
            wait_until(lambda: store.holds(addresses), aggregator.output)
            before = store.everything()
            store.kill()
            store.start()
            wait_until(lambda: store.holds(addresses), aggregator.output)
            assert store.everything() == before
            assert len(store.check_whole()) == 1500


def test_a_store_that_went_back_in_time_is_brought_forward(tmp_path):
    addresses = public_addresses(900, seed=20)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            stream(mesh.nodes[0], bans_of(addresses[:300]))
            wait_until(lambda: store.holds(addresses[:300]), aggregator.output)
            assert store.call("SAVE") == "OK"
            stream(mesh.nodes[0], bans_of(addresses[300:600]))
            wait_until(lambda: store.holds(addresses[:600]), aggregator.output)
            store.kill()
            store.start()  # from the snapshot: half of it, with the cursors of then
            stream(mesh.nodes[0], bans_of(addresses[600:]))
            wait_until(lambda: store.holds(addresses), aggregator.output)
            assert len(store.check_whole()) == 900
            assert "another one than before" not in aggregator.output()


def test_a_hanging_store_does_not_stop_the_mesh(tmp_path):
    addresses = public_addresses(600, seed=14)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            mx1 = mesh.nodes[0]
            mx1.publish(addresses[0])
            store.wait_holds(addresses[:1], aggregator)
            store.freeze()
            stream(mx1, bans_of(addresses[1:]))
            began = time.monotonic()
            wait_until(lambda: aggregator.status()["behind"] > 0, "bans that wait for the store")
            while time.monotonic() - began < 2:
                assert aggregator.peers()["mx1"]["connected"]
                assert aggregator.peers()["mx1"]["heard_ms_ago"] < 1000
            store.freeze(False)
            store.wait_holds(addresses, aggregator)
            assert len(store.check_whole()) == 600


def test_a_store_that_hangs_is_left_and_what_it_does_later_harms_nothing(tmp_path):
    """It has blocks in its socket when it stops, and executes them when it goes on: nobody waits
    for them any more, and other things were written elsewhere."""
    bans = bans_of(public_addresses(6000, seed=14))
    model = Model()
    with Store(tmp_path, "one") as one, Store(tmp_path, "other") as other:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [one, other])
        with mesh:
            mx1 = mesh.nodes[0]
            model.stream(mx1, bans[:500])
            model.wait(one, aggregator)
            one.freeze()
            model.stream(mx1, bans[500:5000])
            wait_until(lambda: aggregator.status()["store"]["endpoint"] == other.endpoint,
                       aggregator.output)
            assert "no answer for 10 s" in aggregator.output()
            model.wait(other, aggregator)
            one.freeze(False)
            assert set(one.check_whole()) <= set(model.attempts)
            model.stream(mx1, bans[5000:])
            model.wait(other, aggregator)
            other.kill()
            model.wait(one, aggregator)


def test_an_error_inside_exec_is_named_and_its_block_not_counted_as_done(tmp_path):
    addresses = public_addresses(60, seed=16)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        store.call("SET", "f2b:postfix", "somebody's")
        with mesh:
            stream(mesh.nodes[0], bans_of(addresses, jails=("postfix",)))
            wait_until(lambda: "SADD f2b:postfix: WRONGTYPE" in aggregator.output(), "the error")
            assert store.call("KEYS", "banmesh:cursor:*") == []
            # An operator restarts what does not work; that must not make it forget.
            aggregator.stop()
            aggregator.start()
            wait_until(lambda: aggregator.status()["store"]["retries"] > 1, "another try")
            assert aggregator.status()["behind"] > 0
            store.call("DEL", "f2b:postfix")
            wait_until(lambda: store.count("postfix") == 60, aggregator.output)
            assert len(store.check_whole()) == 60
            wait_until(lambda: aggregator.status()["behind"] == 0, "the cursor")


# ---- which store ----

def test_a_replica_is_passed_over(tmp_path):
    with Store(tmp_path) as master:
        with Store(tmp_path, "replica") as replica:
            replica.call("REPLICAOF", "127.0.0.1", "1")  # of nobody, but no master any more
            mesh = Mesh(tmp_path, ["mx1"])
            aggregator = add_aggregator(mesh, [replica, master])
            with mesh:
                mesh.nodes[0].publish("45.154.244.193")
                master.wait_holds(["45.154.244.193"], aggregator)
                assert aggregator.status()["store"]["endpoint"] == master.endpoint
                assert "is a replica" in aggregator.output()
                assert replica.call("DBSIZE") == 0
                # The master goes, the replica is promoted: the history moves on there.
                master.kill()
                replica.call("REPLICAOF", "NO", "ONE")
                mesh.nodes[0].publish("45.154.244.194")
                replica.wait_holds(["45.154.244.193", "45.154.244.194"], aggregator)
                assert len(replica.check_whole()) == 2


def test_a_name_is_resolved_and_a_master_turned_replica_left(tmp_path):
    with Store(tmp_path, options=["--port", "0"]) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        aggregator.settings["store"]["endpoints"] = "localhost:1 no.such.name.invalid:6379 " + \
            store.endpoint
        aggregator.write_settings()
        with mesh:
            mesh.nodes[0].publish("45.154.244.193")
            store.wait_holds(["45.154.244.193"], aggregator)
            assert "store localhost:1: Connection refused" in aggregator.output()
            assert "store no.such.name.invalid:6379: no.such.name.invalid: " in aggregator.output()
            store.call("REPLICAOF", "127.0.0.1", "1")
            mesh.nodes[0].publish("45.154.244.194")
            wait_until(lambda: "is a replica" in aggregator.output(), aggregator.output)
            store.call("REPLICAOF", "NO", "ONE")
            store.wait_holds(["45.154.244.194"], aggregator)


def test_a_wrong_password_is_said_and_the_right_one_works(tmp_path):
    password = tmp_path / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    with Store(tmp_path) as store:
        store.call("CONFIG", "SET", "requirepass", "right horse")
        store.password = "right horse"
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store], store={"password-file": password})
        with mesh:
            wait_until(lambda: aggregator.status()["store"]["retries"] > 2, "some tries")
            said = aggregator.output()
            assert said.count("AUTH: WRONGPASS") == 1 and "right horse" not in said
            mesh.nodes[0].publish("45.154.244.193")
            password.write_text("right horse\n")
            aggregator.process.process.send_signal(signal.SIGHUP)
            store.wait_holds(["45.154.244.193"], aggregator)
            # A user of its own, who may do what store.h says and no more.
            store.call("ACL", "SETUSER", "hist", "on", ">secret", "~f2b:*", "~banmesh:*",
                       "-@all", "+@connection", "+@transaction", "+select", "+get", "+set", "+mget",
                       "+mset", "+exists", "+hmget", "+hset", "+sadd", "+del", "+zadd", "+zscore",
                       "+zmscore", "+zremrangebyscore", "+publish", "&f2b:live")
            password.write_text("secret")
            aggregator.write_settings({"store": {"user": "hist"}})
            aggregator.process.process.send_signal(signal.SIGHUP)
            mesh.nodes[0].publish("45.154.244.194")
            store.wait_holds(["45.154.244.194"], aggregator)
            assert "user=hist" in store.call("CLIENT", "LIST")


def test_the_acl_of_the_documentation_is_enough(tmp_path):
    with open(os.path.join(ROOT, "docs", "keydb.md"), encoding="utf-8") as text:
        (rule,) = re.findall(r"^    ACL SETUSER (banmesh .*)$", text.read(), re.M)
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    with Store(tmp_path) as store:
        store.call("ACL", "SETUSER", *rule.replace("PASSWORD", "secret").split())
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store],
                                    store={"user": "banmesh", "password-file": password})
        with mesh:
            mesh.nodes[0].publish("45.154.244.193")
            store.wait_holds(["45.154.244.193"], aggregator)
            wait_until(lambda: aggregator.status()["store"]["commands"] > 30, "the check, too")
            assert aggregator.status()["store"]["retries"] == 0
            assert store.call("ACL", "LOG") == []


def test_a_cluster_is_named_as_such(tmp_path):
    """It was tried for ever, with "MOVED" or "CROSSSLOT" in the log at best."""
    with Store(tmp_path, options=["--cluster-enabled", "yes", "--port", str(free_port())]) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            words = "is a cluster, which cannot be used"
            wait_until(lambda: words in aggregator.output(), aggregator.output)
            assert any(words in line for line in aggregator.status()["attention"])
            assert aggregator.output().count(words) == 1


def test_other_programs_may_read_as_the_seed_does(tmp_path):
    """The charts that this history began with: attempts of each day by country and by jail, and
    addresses by country. Each way to count them gives the same."""
    country = make_country_db(tmp_path / "country.mmdb", COUNTRIES)
    addresses = public_addresses(200, seed=23)
    jails = ("sshd", "postfix", "nginx-botsearch")
    now = int(time.time())
    bans = [(ip, jails[n % 3], now - n % 5 * 86400) for n, ip in enumerate(addresses)]
    bans += [(ip, "recidive", now) for ip in addresses[:20]]
    with Store(tmp_path) as store, Mesh(tmp_path, ["mx1"]) as mesh:
        aggregator = add_aggregator(mesh, [store], country=country).start()
        stream(mesh.nodes[0], bans)
        store.wait_holds(addresses, aggregator)
        wait_until(lambda: aggregator.status()["behind"] == 0, "all to be there")

        def members(*keys):
            return set(store.call("SINTER", *["f2b:" + key for key in keys]))
        by_day = {}
        for ip, jail, when in bans:
            by_day.setdefault(time.strftime("%Y-%m-%d", time.gmtime(when)), []).append((ip, jail))
        assert len(by_day) == 5
        for day, wanted in by_day.items():
            nids = store.call("SMEMBERS", "f2b:" + day)
            attempts = {nid: dict(zip(*[iter(store.call("HGETALL", "f2b:" + nid))] * 2))
                        for nid in nids}
            assert sorted((one["ip"], one["jail"]) for one in attempts.values()) == sorted(wanted)
            for field in ("country", "jail", "ip"):
                for value in {one[field] for one in attempts.values()}:
                    assert members(day, value) == {nid for nid, one in attempts.items()
                                                   if one[field] == value}
            for one in attempts.values():
                assert time.strftime("%Y-%m-%d", time.gmtime(int(one["timestamp"]))) == day
        for code in {*COUNTRIES.values(), "XX"}:
            nids = store.call("SMEMBERS", "f2b:" + code)
            assert len(nids) == store.call("SCARD", "f2b:" + code)
            assert all(store.call("HGET", "f2b:" + nid, "country") == code for nid in nids)


# ---- the aggregator fails ----

def test_a_restarted_aggregator_writes_nothing_twice(tmp_path):
    addresses = public_addresses(4000, seed=17)
    # All of them run, so that none is copied forward: that would be told as repeated.
    bans = [(*ban, 30 * 86400) for ban in bans_of(addresses)]
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            stream(mesh.nodes[0], bans[:1000])
            wait_until(lambda: store.holds(addresses[:1000]), aggregator.output)
            wait_until(lambda: aggregator.status()["behind"] == 0, "the cursor")
            aggregator.stop()
            aggregator.start()
            stream(mesh.nodes[0], bans[1000:2000])
            wait_until(lambda: store.holds(addresses[:2000]), aggregator.output)
            assert aggregator.status()["events"] == {"stored": 1000}
            for start in range(2000, 4000, 500):  # and killed in the middle of it
                stream(mesh.nodes[0], bans[start:start + 500])
                aggregator.stop(signal.SIGKILL)
                aggregator.start()
            wait_until(lambda: store.holds(addresses), aggregator.output)
            assert len(store.check_whole()) == 4000


def test_an_aggregator_without_its_state_adds_nothing_to_a_full_store(tmp_path):
    addresses = public_addresses(700, seed=18)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            stream(mesh.nodes[0], bans_of(addresses))
            wait_until(lambda: store.holds(addresses), aggregator.output)
            wait_until(lambda: aggregator.status()["behind"] == 0, "the cursor")
            before = store.everything()
            aggregator.stop()
            for file in os.listdir(os.path.join(aggregator.dir, "state")):
                os.unlink(os.path.join(aggregator.dir, "state", file))
            aggregator.start()
            mesh.nodes[0].publish("45.1.1.1")
            store.wait_holds(["45.1.1.1"], aggregator)
            assert aggregator.status()["events"] == {"stored": 1}
            after = store.everything()
            assert all(after[key] == value for key, value in before.items() if type(value) is dict)
            assert len(store.check_whole()) == 701


def test_a_history_of_the_first_version_gets_what_came_later(tmp_path):
    """Five families, and cursors that say nothing of a version."""
    addresses = public_addresses(700, seed=19)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            stream(mesh.nodes[0], bans_of(addresses))
            wait_until(lambda: store.holds(addresses), aggregator.output)
            wait_until(lambda: aggregator.status()["behind"] == 0, "the cursor")
            aggregator.stop()
            before = store.everything()
            first = re.compile(r"f2b:(\d+|[A-Z]{2}|sshd|postfix|nginx-botsearch|[\d.]+|[\d-]{10})")
            for key in before:
                if not first.fullmatch(key):
                    store.call("DEL", key)
            for key in store.call("KEYS", "banmesh:cursor:*"):
                seq, contents = store.call("GET", key).split()
                store.call("SET", key, "%s %s" % (seq, contents.split(".")[0]))
            aggregator.start()
            wait_until(lambda: aggregator.status()["behind"] == 0 and
                       aggregator.status()["events"].get("repeated") == 700,
                       lambda: str(aggregator.status()["events"]))
            assert len(store.check_whole()) == 700
            after = store.everything()
            assert {key: value for key, value in after.items() if key != "f2b:active"} == {
                key: value for key, value in before.items() if key != "f2b:active"}


def test_two_aggregators_with_different_databases_keep_one_history(tmp_path):
    addresses = public_addresses(3000, seed=19)
    one_db = make_country_db(tmp_path / "one.mmdb", {"0.0.0.0/1": "AA", "128.0.0.0/1": "BB"})
    other_db = make_country_db(tmp_path / "other.mmdb", {"0.0.0.0/1": "CC", "128.0.0.0/1": "DD"})
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1", "mx2"])
        one = add_aggregator(mesh, [store], one_db)
        other = add_aggregator(mesh, [store], other_db, name="hist2")
        with mesh:
            for start in range(0, 3000, 100):
                stream(mesh.nodes[start // 100 % 2], bans_of(addresses[start:start + 100]))
            wait_until(lambda: store.holds(addresses), one.output)
            for aggregator in (one, other):
                wait_until(lambda a=aggregator: a.status()["behind"] == 0 and
                           sum(a.status()["events"].values()) > 0, "the cursors")
            assert len(store.check_whole()) == 3000
            store.call("FLUSHALL")
            wait_until(lambda: store.holds(addresses), one.output)
            assert len(store.check_whole()) == 3000


# ---- the country database, and --check ----

def test_a_replaced_database_is_read_at_a_hangup(tmp_path):
    path = tmp_path / "country.mmdb"
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store], path)
        with mesh:
            assert "does not exist: all countries will be XX" in aggregator.output()
            mesh.nodes[0].publish("45.1.1.1")
            store.wait_holds(["45.1.1.1"], aggregator)
            make_country_db(path, {"45.0.0.0/8": "nl"}, "--flat")
            aggregator.process.process.send_signal(signal.SIGHUP)
            wait_until(lambda: aggregator.status()["country_db"]["loaded"], "the database")
            mesh.nodes[0].publish("45.1.1.2")
            store.wait_holds(["45.1.1.2"], aggregator)
            # Overwritten where it lies, with rubbish: what was read stays in use.
            path.write_bytes(b"rubbish")
            aggregator.process.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "not a MaxMind DB" in aggregator.output(), "the complaint")
            mesh.nodes[0].publish("45.1.1.3")
            store.wait_holds(["45.1.1.3"], aggregator)
            assert store.count("XX") == 1 and store.count("NL") == 2


def test_a_database_without_countries_is_said(tmp_path):
    """All were XX, for ever, in silence."""
    asn = make_country_db(tmp_path / "asn.mmdb", {"45.0.0.0/8": "AS1"}, "--asn")
    good = make_country_db(tmp_path / "good.mmdb", COUNTRIES)
    with Store(tmp_path) as store, Mesh(tmp_path, ["mx1"]) as mesh:
        aggregator = add_aggregator(mesh, [store], geoip={"country": str(asn)})
        done = subprocess.run([program("banmesh-aggregator"), "--config", aggregator.conf, "--check"],
                              text=True, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        words = "asn.mmdb (GeoLite2-ASN) holds no countries: all will be XX"
        assert words in done.stdout
        aggregator.start()
        assert aggregator.output().count(words) == 1
        assert any(words in line for line in aggregator.status()["attention"])
        mesh.nodes[0].publish("45.154.244.193")
        wait_until(lambda: aggregator.status()["country_db"]["unknown"] == 1, "it to be counted")
        aggregator.write_settings({"geoip": {"country": str(good)}})
        aggregator.process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not any(words in line for line in aggregator.status()["attention"]),
                   "the good one")
        aggregator.write_settings({"geoip": {"country": str(asn)}})
        aggregator.process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: aggregator.output().count(words) == 2, "the reload to say it")


def test_check_names_what_is_wrong(tmp_path):
    mesh = Mesh(tmp_path)
    store = Store(tmp_path)
    aggregator = add_aggregator(mesh, [store])
    status, said = check(aggregator)
    assert status == 0 and "configuration ok" in said and "all countries will be XX" in said
    bad = tmp_path / "bad.mmdb"
    bad.write_bytes(b"no database" * 1000)
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    for settings, words in (
            ({"geoip": {"country": bad}}, "%s: not a MaxMind DB file" % bad),
            ({"history": {"timezone": "Mars/Olympus"}}, "Mars/Olympus"),
            ({"history": {"timezone": "../../../etc/passwd"}}, "expected UTC or a name"),
            ({"store": {"endpoints": "localhost"}}, "expected unix:/PATH or HOST:PORT"),
            ({"store": {"endpoints": "unix:relative"}}, "expected unix:/PATH or HOST:PORT"),
            ({"store": {"endpoints": "::1:6379"}}, "expected unix:/PATH or HOST:PORT"),
            ({"store": {"endpoints": ""}}, "expected at least one"),
            ({"store": {"password-file": secret}}, "mode 0644 lets others read it"),
            ({"store": {"password-file": tmp_path / "none"}}, "No such file"),
            ({"store": {"user": "hist"}}, "store / password-file is needed")):
        aggregator.write_settings(settings)
        status, said = check(aggregator)
        assert status == 1 and words in said, said
