// Everything once, against a gateway: node smoke.mjs BASE_URL API_KEY DIRECTORY. Says what it has seen, as JSON.

import assert from "node:assert/strict";

import { Aetherium, AetheriumError, newKey } from "../dist/index.js";

const [baseUrl, apiKey, directory] = process.argv.slice(2);
const client = new Aetherium({ baseUrl, apiKey });
const seen = {};

const steps = [];
const vm = await client.createVM({ image: "base", name: "smoke" }, (step) => steps.push(step));
seen.steps = steps.length;

const decoder = new TextDecoder();
let output = "";
const running = client.run(vm.id, { argv: ["sh", "-c", "echo one; echo two >&2; exit 3"] });
for (;;) {
  const { value, done } = await running.next();
  if (done) {
    seen.exit_code = value.exit_code;
    break;
  }
  output += `${value.stream}: ${decoder.decode(value.data)}`;
}
seen.output = output;

const path = `${directory}/file`;
await client.api.PUT("/v1/vms/{ref}/files/content", {
  params: { path: { ref: "smoke" }, query: { path } },
  body: "written\n",
  bodySerializer: (body) => body,
  headers: { "content-type": "application/octet-stream" },
});
const read = await client.api.GET("/v1/vms/{ref}/files/content", {
  params: { path: { ref: "smoke" }, query: { path } },
  parseAs: "text",
});
seen.read = read.data;

const listed = await client.api.GET("/v1/vms", { params: { query: { limit: 10 } } });
seen.names = listed.data.items.map((each) => each.spec.name);

const key = newKey();
const tasks = [];
for (let i = 0; i < 2; i++) {
  const { data } = await client.api.POST("/v1/tasks", {
    params: { header: { "Idempotency-Key": key } },
    body: { spec: { type: "system.noop" } },
  });
  tasks.push(data.id);
}
seen.same_task = tasks[0] === tasks[1];

await client.api.DELETE("/v1/vms/{ref}", { params: { path: { ref: vm.id } } });
await assert.rejects(client.api.GET("/v1/vms/{ref}", { params: { path: { ref: vm.id } } }), (error) => {
  assert(error instanceof AetheriumError);
  seen.error = [error.code, error.status, error.retryable];
  return true;
});
console.log(JSON.stringify(seen));
