// What both clients' scripts share: the scenario, as `scenario.rs` writes it, and how a promise is checked.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

const decode = (text) => Buffer.from(text, "base64");
const decodePair = (pair) => ({ key: decode(pair.key), value: decode(pair.value) });

export function loadScenario() {
  const scenario = JSON.parse(readFileSync(process.argv[2], "utf8"));
  return {
    ...scenario,
    pairs: scenario.pairs.map(decodePair),
    misses: scenario.misses.map(decode),
    same_slot: scenario.same_slot.map(decodePair),
    other_db: scenario.other_db && { db: scenario.other_db.db, ...decodePair(scenario.other_db) },
  };
}

export function check(what, actual, expected) {
  if (!isDeepStrictEqual(actual, expected)) fail(what, `${show(actual)} instead of ${show(expected)}`);
  console.log(`ok ${what}`);
}

// The error that `promise` ends with; that it ends with one is the promise.
export async function refused(what, promise) {
  let reply;
  try {
    reply = await promise;
  } catch (error) {
    return error;
  }
  fail(what, `it was accepted: ${show(reply)}`);
}

export function fail(what, why) {
  console.log(`FAILED ${what}: ${why}`);
  process.exit(1);
}

function show(value) {
  const text = Buffer.isBuffer(value) ? value.toString("latin1") : JSON.stringify(value);
  return String(text).slice(0, 200);
}

// An event nobody listens to, or a promise nobody waits for, is a failure too.
process.on("unhandledRejection", (error) => fail("unhandled rejection", error?.stack));
