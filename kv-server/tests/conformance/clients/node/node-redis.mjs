// node-redis against one scenario: `node node-redis.mjs SCENARIO.json`.

import { RESP_TYPES, createClient, createCluster } from "redis";
import { check, fail, loadScenario, refused } from "./scenario.mjs";

const scenario = loadScenario();
const { pairs, misses, same_slot: sameSlot } = scenario;
const client = await connect({ database: 0 });

for (const { key, value } of pairs) check("GET of a key", await client.get(key), value);
for (const key of misses) check("GET of no key", await client.get(key), null);

const keys = sameSlot.map((pair) => pair.key);
const absent = Buffer.concat([keys[0], Buffer.from("-absent")]); // has the same hash tag
check("MGET", await client.mGet([...keys, absent]), [...sameSlot.map((pair) => pair.value), null]);
check("EXISTS", await client.exists([...keys, absent, keys[0]]), keys.length + 1);
const [{ key, value }] = pairs;
check("STRLEN", await client.strLen(key), value.length);
check("STRLEN of no key", await client.strLen(misses[0]), 0);
check("GETRANGE", await client.getRange(key, 1, -2), value.subarray(1, -1));
check("TYPE", String(await client.type(key)), "string");
check("TYPE of no key", String(await client.type(misses[0])), "none");
check("TTL", await client.ttl(key), -1);
check("TTL of no key", await client.ttl(misses[0]), -2);
check("PTTL", await client.pTTL(key), -1);

const seen = new Set();
const nodes = scenario.cluster ? await Promise.all(client.masters.map((node) => client.nodeClient(node))) : [client];
for (const node of nodes) {
  const mapped = node.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  for await (const page of mapped.scanIterator({ COUNT: 100 })) {
    for (const found of page) seen.add(found.toString("latin1"));
  }
}
check("SCAN sees every key", seen.size, scenario.total);
check("SCAN sees these keys", pairs.every((pair) => seen.has(pair.key.toString("latin1"))), true);

// Commands of one turn of the event loop are pipelined by the client itself.
const rounds = Array.from({ length: 50 }, () => [...pairs, { key: misses[0], value: null }]).flat();
check("pipeline", await Promise.all(rounds.map((pair) => client.get(pair.key))), rounds.map((pair) => pair.value));
const transaction = client.multi();
for (const pair of sameSlot) transaction.get(pair.key);
check("transaction", (await transaction.exec()).map(String), sameSlot.map((pair) => String(pair.value)));

const info = String(await nodes[0].info());
check("INFO", info.includes("redis_version:"), true);

if (scenario.refusal) {
  const error = await refused("a refused SET", client.set(key, "other"));
  check("a refused SET", error.message.split(" ")[0], scenario.refusal);
  check("GET after a refused SET", await client.get(key), value);
}
if (scenario.other_db) {
  const selected = await connect({ database: scenario.other_db.db });
  check("SELECT", await selected.get(scenario.other_db.key), scenario.other_db.value);
  check("another database has other keys", await client.get(scenario.other_db.key), null);
  await selected.close();
}
if (scenario.password) {
  const error = await refused("a wrong password", connect({ password: "wrong" }));
  check("a wrong password", /WRONGPASS|invalid password/.test(error.message), true);
}
await client.close();
// A handle that stayed open would keep the process alive: the harness has a deadline for that.

async function connect(more) {
  const options = {};
  if (scenario.resp) options.RESP = scenario.resp;
  if (scenario.password) options.password = scenario.password;
  let client;
  if (scenario.cluster) {
    const rootNodes = scenario.nodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` }));
    client = createCluster({ rootNodes, ...options });
  } else {
    const [{ host, port }] = scenario.nodes;
    // As written in its handbook, but for giving up: by default it tries again for ever.
    client = createClient({ ...options, ...more, socket: { host, port, reconnectStrategy: false } });
  }
  client.on("error", (error) => { if (!more?.password) fail("error event", error.stack); });
  await client.connect();
  return client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
}
