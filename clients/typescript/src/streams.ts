import { AetheriumError, isProblem } from "./errors.js";

/** One Server-Sent Event, its data as JSON. */
export interface ServerSentEvent {
  id: string;
  event: string;
  data: unknown;
}

/** The lines of a body, however the network cuts it. What comes behind the last line end is not whole, and
 * left out. */
async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const found = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = found.pop() ?? "";
      yield* found;
    }
  } finally {
    await reader.cancel();
  }
}

/** The JSON values of NDJSON. Throws the AetheriumError of an `{"error": …}` line. */
export async function* ndjson(body: ReadableStream<Uint8Array>): AsyncGenerator<Record<string, unknown>> {
  for await (const line of lines(body)) {
    const value = JSON.parse(line) as Record<string, unknown>;
    if (isProblem(value["error"])) throw new AetheriumError(value["error"]);
    yield value;
  }
}

/** The events of a `text/event-stream`. Throws the AetheriumError of an event `problem`. */
export async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  let fields: Record<string, string> = {};
  for await (const line of lines(body)) {
    if (line !== "") {
      const colon = line.indexOf(":");
      if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
      continue;
    }
    if (fields["data"] !== undefined) {
      const data: unknown = JSON.parse(fields["data"]);
      if (fields["event"] === "problem" && isProblem(data)) throw new AetheriumError(data);
      yield { id: fields["id"] ?? "", event: fields["event"] ?? "message", data };
    }
    fields = {};
  }
}
