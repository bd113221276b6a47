"""The whole way at once: three nodes, an aggregator and a store; the hook at one end."""

import time

from mesh import Mesh, public_addresses, wait_until
from store import Store, add_aggregator, make_country_db

COUNTRIES = {"45.0.0.0/8": "NL", "62.0.0.0/8": "DE", "80.0.0.0/8": "FR", "91.0.0.0/8": "RU",
             "103.0.0.0/8": "SG", "141.0.0.0/8": "AT", "185.0.0.0/8": "SE", "193.0.0.0/8": "CH",
             "212.0.0.0/8": "GB"}


def test_108_bans_are_everywhere_once_though_a_node_was_stopped_meanwhile(tmp_path):
    seed = int(time.time())
    print("seed", seed)
    addresses = public_addresses(108, seed)
    country = make_country_db(tmp_path / "country.mmdb", COUNTRIES)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1", "mx2", "mx3"])
        aggregator = add_aggregator(mesh, [store], country)
        with mesh:
            mx1, mx2, mx3, _ = mesh.nodes
            for address in addresses[:40]:
                mx1.publish(address)
            mx3.wait_reported(addresses[:40])
            mx3.stop()
            for address in addresses[40:]:
                mx1.publish(address)
            mx2.wait_reported(addresses)
            store.wait_holds(addresses, aggregator)
            mx3.start()
            mx3.wait_reported(addresses)
            for node in (mx2, mx3):
                assert sorted(node.reported()) == addresses
            # The nids in the logs are those of the store, each with the country of its network.
            attempts = store.check_whole()
            assert len(attempts) == 108
            for line in mx2.lines():
                address, nid = line.split(": ")[1], line.split(" nid ")[1]
                attempt = attempts[nid]
                assert attempt["ip"] == address and attempt["node"] == "mx1"
                assert attempt["country"] == COUNTRIES[address.split(".")[0] + ".0.0.0/8"]
            # Nothing is announced twice: only mx1 has a feed, as long as it published.
            wait_until(lambda: mx3.peers()["mx1"]["missing_batches"] == 0, "mx3 to have all")
            for node in mesh.nodes:
                feeds = node.status()["mesh"]["feeds"]
                assert [feed["origin"] for feed in feeds] == ["mx1"] and feeds[0]["have"] == 108
            assert mx1.lines() == []
