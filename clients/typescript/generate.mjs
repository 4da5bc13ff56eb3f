// The types of the API from its description, which is read from stdin. Written to stdout.
//
// Left out: examples and titles, which would be nine tenths of the file, and which errors an operation may
// give: all of them are thrown as AetheriumError.

import { text } from "node:stream/consumers";
import openapiTS, { astToString, COMMENT_HEADER } from "openapi-typescript";

const METHODS = ["get", "head", "put", "post", "delete"];
const PROBLEM = { $ref: "#/components/schemas/Problem" };

function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(
    ([key, item]) => key !== "example" && key !== "examples" && !(key === "title" && typeof item === "string"),
  );
  return Object.fromEntries(kept.map(([key, item]) => [key, plain(item)]));
}

function withOneError(operation) {
  const answers = Object.entries(operation.responses).filter(([status]) => status < "400");
  const failed = { description: "An error.", content: { "application/problem+json": { schema: PROBLEM } } };
  return { ...operation, responses: { ...Object.fromEntries(answers), default: failed } };
}

const description = plain(JSON.parse(await text(process.stdin)));
for (const item of Object.values(description.paths)) {
  for (const method of METHODS.filter((name) => name in item)) item[method] = withOneError(item[method]);
}
process.stdout.write(COMMENT_HEADER + astToString(await openapiTS(description)));
