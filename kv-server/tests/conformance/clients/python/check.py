"""redis-py against one scenario: `check.py SCENARIO.json`, where `scenario.rs` says what is in it.

Connects as a user would and prints a line for each promise that held; the first that does not ends it.
"""

import base64
import json
import sys

import redis
from redis.cluster import ClusterNode, RedisCluster


def main():
    with open(sys.argv[1]) as file:
        scenario = json.load(file)
    pairs = [(decode(pair["key"]), decode(pair["value"])) for pair in scenario["pairs"]]
    misses = [decode(key) for key in scenario["misses"]]
    same_slot = [(decode(pair["key"]), decode(pair["value"])) for pair in scenario["same_slot"]]

    client = connect(scenario, db=0)
    check("ping", client.ping(), True)
    for key, value in pairs:
        check("GET of a key", client.get(key), value)
    for key in misses:
        check("GET of no key", client.get(key), None)

    keys = [key for key, _value in same_slot]
    values = [value for _key, value in same_slot]
    absent = keys[0] + b"-absent"  # has the same hash tag
    check("MGET", client.mget(keys + [absent]), values + [None])
    check("EXISTS", client.exists(*keys, absent, keys[0]), len(keys) + 1)
    key, value = pairs[0]
    check("STRLEN", client.strlen(key), len(value))
    check("STRLEN of no key", client.strlen(misses[0]), 0)
    check("GETRANGE", client.getrange(key, 1, -2), value[1:-1])
    check("TYPE", client.type(key), b"string")
    check("TYPE of no key", client.type(misses[0]), b"none")
    check("TTL", client.ttl(key), -1)
    check("TTL of no key", client.ttl(misses[0]), -2)
    check("PTTL", client.pttl(key), -1)

    seen = set(client.scan_iter(count=100))
    check("SCAN sees every key", len(seen), scenario["total"])
    check("SCAN sees these keys", all(key in seen for key, _value in pairs), True)

    for transaction in ([None] if scenario["cluster"] else [True, False]):
        pipeline = client.pipeline() if transaction is None else client.pipeline(transaction=transaction)
        expected = []
        for _round in range(50):
            for key, value in pairs:
                pipeline.get(key)
                expected.append(value)
            pipeline.get(misses[0])
            expected.append(None)
        check(f"pipeline (transaction={transaction})", pipeline.execute() == expected, True)

    info = client.info()
    check("INFO", "redis_version" in info, True)

    if scenario["refusal"]:
        try:
            client.set(pairs[0][0], b"other")
        except redis.ResponseError as error:
            # redis-py takes the code off the text and makes it the error's class.
            expected = {"READONLY": redis.ReadOnlyError, "NOPERM": redis.exceptions.NoPermissionError}
            check("a refused SET", type(error), expected[scenario["refusal"]])
        else:
            raise SystemExit("FAILED a refused SET: it was accepted")
        check("GET after a refused SET", client.get(pairs[0][0]), pairs[0][1])

    if scenario["other_db"] is not None:
        other = scenario["other_db"]
        selected = connect(scenario, db=other["db"])
        check("SELECT", selected.get(decode(other["key"])), decode(other["value"]))
        check("another database has other keys", client.get(decode(other["key"])), None)

    if scenario["password"] is not None:
        try:
            connect({**scenario, "password": "wrong"}, db=0).ping()
        except redis.AuthenticationError:
            print("ok a wrong password")
        else:
            raise SystemExit("FAILED a wrong password: it was accepted")


def connect(scenario, db):
    options = {}
    if scenario["resp"] is not None:
        options["protocol"] = scenario["resp"]
    if scenario["password"] is not None:
        options["password"] = scenario["password"]
    if scenario["cluster"]:
        nodes = [ClusterNode(node["host"], node["port"]) for node in scenario["nodes"]]
        return RedisCluster(startup_nodes=nodes, **options)
    node = scenario["nodes"][0]
    return redis.Redis(host=node["host"], port=node["port"], db=db, **options)


def decode(text):
    return base64.b64decode(text)


def check(what, actual, expected):
    if actual != expected:
        raise SystemExit(f"FAILED {what}: {actual!r} instead of {expected!r}")
    print(f"ok {what}")


main()
