// ioredis against one scenario: `node ioredis.mjs SCENARIO.json`.

import Redis, { Cluster } from "ioredis";
import { check, fail, loadScenario, refused } from "./scenario.mjs";

const scenario = loadScenario();
const { pairs, misses, same_slot: sameSlot } = scenario;
const client = connect({ db: 0 });

for (const { key, value } of pairs) check("GET of a key", await client.getBuffer(key), value);
for (const key of misses) check("GET of no key", await client.getBuffer(key), null);

const keys = sameSlot.map((pair) => pair.key);
const absent = Buffer.concat([keys[0], Buffer.from("-absent")]); // has the same hash tag
check("MGET", await client.mgetBuffer(...keys, absent), [...sameSlot.map((pair) => pair.value), null]);
check("EXISTS", await client.exists(...keys, absent, keys[0]), keys.length + 1);
const [{ key, value }] = pairs;
check("STRLEN", await client.strlen(key), value.length);
check("STRLEN of no key", await client.strlen(misses[0]), 0);
check("GETRANGE", await client.getrangeBuffer(key, 1, -2), value.subarray(1, -1));
check("TYPE", await client.type(key), "string");
check("TYPE of no key", await client.type(misses[0]), "none");
check("TTL", await client.ttl(key), -1);
check("TTL of no key", await client.ttl(misses[0]), -2);
check("PTTL", await client.pttl(key), -1);

const seen = new Set();
const nodes = scenario.cluster ? client.nodes("master") : [client];
for (const node of nodes) {
  for await (const page of node.scanBufferStream({ count: 100 })) {
    for (const found of page) seen.add(found.toString("latin1"));
  }
}
check("SCAN sees every key", seen.size, scenario.total);
check("SCAN sees these keys", pairs.every((pair) => seen.has(pair.key.toString("latin1"))), true);

// In a cluster, all keys of a pipeline must be on one node.
const piped = scenario.cluster ? sameSlot : pairs;
const rounds = Array.from({ length: 50 }, () => piped).flat();
const pipeline = client.pipeline();
for (const pair of rounds) pipeline.getBuffer(pair.key);
check("pipeline", await pipeline.exec(), rounds.map((pair) => [null, pair.value]));
const transaction = client.multi();
for (const pair of sameSlot) transaction.getBuffer(pair.key);
check("transaction", await transaction.exec(), sameSlot.map((pair) => [null, pair.value]));

check("INFO", (await nodes[0].info()).includes("redis_version:"), true);

if (scenario.refusal) {
  const error = await refused("a refused SET", client.set(key, "other"));
  check("a refused SET", error.message.split(" ")[0], scenario.refusal);
  check("GET after a refused SET", await client.getBuffer(key), value);
}
if (scenario.other_db) {
  const selected = connect({ db: scenario.other_db.db });
  check("SELECT", await selected.getBuffer(scenario.other_db.key), scenario.other_db.value);
  check("another database has other keys", await client.getBuffer(scenario.other_db.key), null);
  await selected.quit();
}
if (scenario.password) {
  const wrong = connect({ password: "wrong", retryStrategy: () => null });
  const error = await refused("a wrong password", wrong.get("x"));
  check("a wrong password", /WRONGPASS|NOAUTH|closed/.test(error.message), true);
  wrong.disconnect();
}
await client.quit();

function connect(more) {
  const options = {};
  if (scenario.resp) options.protocol = scenario.resp;
  if (scenario.password) options.password = scenario.password;
  if (scenario.cluster) {
    const client = new Cluster(scenario.nodes, { slotsRefreshTimeout: 60_000, redisOptions: options });
    client.on("error", (error) => fail("error event", error.stack));
    return client;
  }
  const client = new Redis({ ...scenario.nodes[0], ...options, ...more });
  client.on("error", (error) => { if (!more?.password) fail("error event", error.stack); });
  return client;
}
