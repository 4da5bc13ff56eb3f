export { Aetherium } from "./client.js";
export type { Chunk, Execution, ExecutionResult, Followed, JobEvent, Options, VM } from "./client.js";
export { AetheriumError } from "./errors.js";
export type { Problem } from "./errors.js";
export { DEFAULT_RETRY, newKey } from "./retries.js";
export type { Fetch, RetryPolicy } from "./retries.js";
export type { components, operations, paths } from "./schema.js";
export { ndjson, serverSentEvents } from "./streams.js";
export type { ServerSentEvent } from "./streams.js";
