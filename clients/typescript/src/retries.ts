/** Exponential backoff with full jitter: before try n+1, a random time of up to `baseMs * 2 ** n`. */
export interface RetryPolicy {
  /** Tries of one request; of a stream, tries without any progress. */
  attempts: number;
  baseMs: number;
  /** Bounds the waiting before one try; a `Retry-After` is waited for even if it is longer. */
  mostMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 5, baseMs: 200, mostMs: 5000 };

const SAFE = ["GET", "HEAD", "PUT", "DELETE"];
const AWAY = [429, 502, 503, 504];

export type Fetch = (request: Request) => Promise<Response>;

/** An `Idempotency-Key`: what is asked for with it is done once, so that it may be asked for again. */
export function newKey(): string {
  // Unique is enough, and `crypto` is not everywhere (Node 18).
  return Array.from({ length: 3 }, () => Math.random().toString(36).slice(2, 12)).join("");
}

/** `fetch`, which makes requests again that may be: those that change nothing, or the same however often they
 * are made, and what has an `Idempotency-Key`. A body that is a stream is sent once. */
export function retrying(fetch: Fetch, policy: RetryPolicy): Fetch {
  return async (request) => {
    const safe = SAFE.includes(request.method) || request.headers.has("idempotency-key");
    for (let failed = 1; ; failed++) {
      const last = !safe || failed >= policy.attempts;
      try {
        const response = await fetch(last ? request : request.clone());
        if (last || !AWAY.includes(response.status)) return response;
        await response.body?.cancel();
        await pause(policy, failed, retryAfterMs(response));
      } catch (error) {
        if (last || request.signal.aborted) throw error;
        await pause(policy, failed);
      }
    }
  };
}

export function pause(policy: RetryPolicy, failed: number, atLeastMs = 0): Promise<void> {
  const longest = Math.min(policy.mostMs, policy.baseMs * 2 ** (failed - 1));
  return new Promise((resolve) => setTimeout(resolve, atLeastMs + Math.random() * longest));
}

function retryAfterMs(response: Response): number {
  const seconds = Number(response.headers.get("retry-after") ?? 0);
  return Number.isFinite(seconds) ? seconds * 1000 : 0;
}
