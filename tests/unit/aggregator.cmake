# The aggregator's own tests.
banmesh_test(enrich aggregator)
banmesh_test(consumer_keys aggregator)
banmesh_test(commands aggregator)
banmesh_test(block feeds aggregator)
banmesh_test(chain aggregator)
banmesh_test(tops aggregator)
banmesh_test(store_login aggregator)
banmesh_test(cursors feeds aggregator)
