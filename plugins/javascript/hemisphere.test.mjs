// What the plugin's code does, without the wall: npm test

import assert from "node:assert/strict";
import { test } from "node:test";
import { transform } from "./hemisphere.js";

const encode = (text) => new TextEncoder().encode(text);
const column = (texts) => ({
  bytes: Uint8Array.from(texts.flatMap((t) => (t === null ? [] : [...encode(t)]))),
  lengths: Int32Array.from(texts, (t) => (t === null ? -1 : encode(t).length)),
});
const texts = ({ bytes, lengths }) => {
  let start = 0;
  return [...lengths].map((n) => (n < 0 ? null : new TextDecoder().decode(bytes.subarray(start, (start += n)))));
};
const process = (values, headers = []) =>
  transform.process({
    keys: column(values.map((_, i) => (i % 2 ? null : `k${i}`))),
    values: column(values),
    timestamps: BigInt64Array.from(values, (_, i) => BigInt(i)),
    headers,
  });

test("adds the hemisphere and leaves the rest of the text as it was", () => {
  transform.open("{}");
  const out = process(['{"latitude":"-15.34","id":9007199254740993}\n', '{ "latitude" : 0 }', '{"latitude":51.5}']);
  assert.deepEqual(texts(out.messages.values), [
    '{"latitude":"-15.34","id":9007199254740993,"hemisphere":"S"}',
    '{ "latitude" : 0 ,"hemisphere":"N"}',
    '{"latitude":51.5,"hemisphere":"N"}',
  ]);
  assert.deepEqual(out.rejected, []);
});

test("rejects what has no latitude; keys, times and headers stay with their message", () => {
  transform.open('{"field":"lat"}');
  const bad = [null, "{", "[1]", "{}", '{"lat":""}', '{"lat":null}', '{"lat":91}', '{"lat":1,"hemisphere":"N"}'];
  const out = process([...bad, '{"lat":"-1"}'], [
    { message: 0, name: "gone", value: encode("") },
    { message: bad.length, name: "kept", value: encode("x") },
  ]);
  assert.deepEqual(out.rejected.map((r) => r.message), bad.map((_, i) => i));
  assert.ok(out.rejected.every((r) => r.reason.length > 0));
  assert.deepEqual(texts(out.messages.keys), ["k8"]);
  assert.deepEqual([...out.messages.timestamps], [8n]);
  assert.deepEqual([...out.origins], [8]);
  assert.deepEqual(out.messages.headers, [{ message: 0, name: "kept", value: encode("x") }]);
});
