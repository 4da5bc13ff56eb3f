// Streams and retries, against a `fetch` that answers as it is told.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Aetherium, AetheriumError, ndjson, serverSentEvents } from "../dist/index.js";

const quick = { attempts: 3, baseMs: 1, mostMs: 2 };
const problem = (code, retryable) => ({ code, detail: "No.", hint: "", status: 503, retryable, details: {} });

function pieces(text, size, cut = false) {
  const bytes = new TextEncoder().encode(text);
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) controller.enqueue(bytes.slice(at, (at += size)));
      else if (cut) controller.error(new TypeError("terminated"));
      else controller.close();
    },
  });
}

async function all(values) {
  const found = [];
  for await (const value of values) found.push(value);
  return found;
}

function scripted(...answers) {
  const requests = [];
  const fetch = async (request) => {
    requests.push(request);
    const answer = answers.shift();
    if (answer instanceof Error || answer === undefined) throw answer ?? new TypeError("fetch failed");
    return answer;
  };
  return { requests, client: new Aetherium({ baseUrl: "http://gateway", retry: quick, fetch }) };
}

test("lines and events survive any cut", async () => {
  for (const size of [1, 2, 3, 7, 1000]) {
    assert.deepEqual(await all(ndjson(pieces('{"a":"ö"}\n{"b":2}\n', size))), [{ a: "ö" }, { b: 2 }]);
    assert.deepEqual(await all(serverSentEvents(pieces(':\n\nid:1\nevent:x\ndata:{"c":"€"}\n\n', size))), [
      { id: "1", event: "x", data: { c: "€" } },
    ]);
  }
});

test("an error within a stream is thrown", async () => {
  const line = `${JSON.stringify({ error: problem("not_found", false) })}\n`;
  await assert.rejects(all(ndjson(pieces(line, 5))), AetheriumError);
  const event = `event:problem\ndata:${JSON.stringify(problem("not_found", false))}\n\n`;
  await assert.rejects(all(serverSentEvents(pieces(event, 5))), { code: "not_found" });
});

test("a stream goes on behind the last event that came", async () => {
  const { client, requests } = scripted(
    new Response(pieces("id:1\nevent:e\ndata:1\n\nid:2\nevent:e\nda", 4, true)),
    new TypeError("fetch failed"),
    new Response(pieces(`event:problem\ndata:${JSON.stringify(problem("unavailable", true))}\n\n`, 9)),
    new Response(pieces("id:2\nevent:e\ndata:2\n\nid:3,end\nevent:e\ndata:3\n\n", 9)),
  );
  assert.deepEqual((await all(client.follow("/v1/events"))).map((each) => each.data), [1, 2, 3]);
  assert.deepEqual(requests.map((each) => each.headers.get("last-event-id")), [null, "1", "1", "1"]);
});

test("what may be repeated is, and nothing else", async () => {
  const away = () => new Response("", { status: 503 });
  const vms = () => Response.json({ items: [], next_cursor: null });
  const good = scripted(away(), new TypeError("fetch failed"), vms());
  assert.deepEqual((await good.client.api.GET("/v1/vms")).data.items, []);
  const post = scripted(away(), vms());
  await assert.rejects(post.client.api.POST("/v1/vms/{ref}/pause", { params: { path: { ref: "x" } } }), {
    code: "unavailable",
  });
  assert.equal(post.requests.length, 1);
  const bad = scripted();
  await assert.rejects(bad.client.api.GET("/v1/vms"), TypeError);
  assert.equal(bad.requests.length, quick.attempts);
});
