import createFetchClient, { type Client } from "openapi-fetch";

import { AetheriumError, errorOf } from "./errors.js";
import { DEFAULT_RETRY, newKey, pause, retrying, type Fetch, type RetryPolicy } from "./retries.js";
import type { components, paths } from "./schema.js";
import { ndjson, serverSentEvents, type ServerSentEvent } from "./streams.js";

type Schemas = components["schemas"];
export type VM = Schemas["VM"];
export type Execution = Schemas["Execution"];
export type ExecutionResult = Schemas["ExecutionResult"];

export interface Options {
  /** Where the gateway is, for instance `https://aetherium.example.org`. */
  baseUrl: string;
  /** An API key, or a token of the identity provider. */
  apiKey?: string;
  /** Id or name; left out: the only one that it can be. */
  project?: string;
  /** How requests are made again that may be; null: none is. */
  retry?: RetryPolicy | null;
  fetch?: Fetch;
}

/** A piece of output: `offset` is the position of its first byte in its stream. */
export interface Chunk {
  stream: "stdout" | "stderr";
  offset: number;
  data: Uint8Array;
}

/** One thing that happened in a job; `kind` is `finished` for the last. */
export interface JobEvent {
  seq: number;
  at: string;
  kind: string;
  data: Record<string, unknown>;
}

export interface Followed {
  query?: Record<string, string | number | boolean | string[] | undefined>;
  signal?: AbortSignal;
}

/**
 * A gateway. `api` has all endpoints, typed by its OpenAPI description; what it answers with as an error is
 * thrown as an AetheriumError. Beside it stands what needs more than one answer: streams.
 */
export class Aetherium {
  readonly api: Client<paths, "application/json">;
  readonly #base: string;
  readonly #fetch: Fetch;
  readonly #headers: Record<string, string>;
  readonly #retry: RetryPolicy | null;

  constructor(options: Options) {
    const plain = options.fetch ?? ((request) => globalThis.fetch(request));
    this.#base = options.baseUrl.replace(/\/+$/, "");
    this.#retry = options.retry === undefined ? DEFAULT_RETRY : options.retry;
    this.#fetch = this.#retry === null ? plain : retrying(plain, this.#retry);
    this.#headers = {
      ...(options.apiKey && { authorization: `Bearer ${options.apiKey}` }),
      ...(options.project && { "aetherium-project": options.project }),
    };
    this.api = createFetchClient<paths, "application/json">({
      baseUrl: this.#base,
      fetch: this.#fetch,
      headers: this.#headers,
    });
    this.api.use({
      async onResponse({ response }) {
        if (response.status >= 400) throw await errorOf(response);
      },
    });
  }

  /** A running VM whose agent has answered; `progress` is told what is being done meanwhile. */
  async createVM(spec: Partial<Schemas["VMCreate"]>, progress?: (step: string) => void): Promise<VM> {
    const response = await this.#request("POST", "/v1/vms", {
      body: JSON.stringify(spec),
      headers: {
        accept: "application/x-ndjson",
        "content-type": "application/json",
        "idempotency-key": newKey(),
      },
    });
    for await (const line of ndjson(body(response))) {
      if ("vm" in line) return line["vm"] as VM;
      progress?.(String(line["progress"]));
    }
    throw new Error("The gateway ended its answer without a VM.");
  }

  /** Run a command: its output as it comes, and at last how it ended. */
  async *run(ref: string, spec: Schemas["ExecutionSpec"], signal?: AbortSignal): AsyncGenerator<Chunk, ExecutionResult> {
    const { data } = await this.api.POST("/v1/vms/{ref}/executions", {
      params: { path: { ref }, query: { mode: "background" }, header: { "Idempotency-Key": newKey() } },
      body: spec,
    });
    return yield* this.output((data as Execution).id, signal && { signal });
  }

  /** The output of an execution from its begin, then live, and at last how it ended. */
  async *output(executionId: string, followed: Followed = {}): AsyncGenerator<Chunk, ExecutionResult> {
    const path = `/v1/executions/${encodeURIComponent(executionId)}/output`;
    for await (const { event, data } of this.follow(path, followed)) {
      if (event === "result") return (data as { result: ExecutionResult }).result;
      if (event === "output") yield chunk(data as WireChunk);
    }
    throw new Error("The gateway ended the output without a result.");
  }

  /** What happens in a job, until it has ended. */
  async *jobEvents(ref: string, followed: Followed = {}): AsyncGenerator<JobEvent> {
    for await (const { data } of this.follow(`/v1/jobs/${encodeURIComponent(ref)}/events`, followed)) {
      yield data as JobEvent;
    }
  }

  /**
   * The Server-Sent Events of an endpoint that has some. A connection that is cut is taken up again behind the
   * last event that came, as far as the stream can be resumed.
   */
  async *follow(path: string, followed: Followed = {}): AsyncGenerator<ServerSentEvent> {
    let last = "";
    for (let failed = 1; ; failed++) {
      try {
        const response = await this.#request("GET", path, {
          ...followed,
          headers: { accept: "text/event-stream", ...(last && { "last-event-id": last }) },
        });
        if (response.status === 204) return;
        for await (const event of serverSentEvents(body(response))) {
          last = event.id;
          failed = 0;
          yield event;
        }
        return; // whole: what is cut is an error
      } catch (error) {
        const hopeless = error instanceof AetheriumError ? !error.retryable : followed.signal?.aborted;
        if (hopeless || !last || this.#retry === null || failed >= this.#retry.attempts) throw error;
        await pause(this.#retry, failed);
      }
    }
  }

  async #request(
    method: string,
    path: string,
    { query = {}, ...init }: RequestInit & { query?: Followed["query"] },
  ): Promise<Response> {
    const url = new URL(this.#base + path);
    for (const [name, value] of Object.entries(query)) {
      for (const each of [value].flat()) if (each !== undefined) url.searchParams.append(name, String(each));
    }
    const headers = { ...this.#headers, ...(init.headers as Record<string, string>) };
    const response = await this.#fetch(new Request(url, { ...init, method, headers }));
    if (response.status >= 400) throw await errorOf(response);
    return response;
  }
}

interface WireChunk {
  stream: Chunk["stream"];
  offset: number;
  text?: string;
  base64?: string;
}

function chunk({ stream, offset, text, base64 }: WireChunk): Chunk {
  const data =
    base64 === undefined
      ? new TextEncoder().encode(text)
      : Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return { stream, offset, data };
}

function body(response: Response): ReadableStream<Uint8Array> {
  if (response.body === null) throw new Error("The gateway's answer has no body.");
  return response.body;
}
