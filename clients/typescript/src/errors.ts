import type { components } from "./schema.js";

/** What went wrong, as the gateway tells it (RFC 9457). */
export type Problem = components["schemas"]["Problem"];

/** An error that the gateway answered with. `code` is stable, to match on; `hint` says what to do next. */
export class AetheriumError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.hint ? `${problem.detail} ${problem.hint}` : problem.detail);
    this.name = "AetheriumError";
    this.problem = problem;
  }

  get code(): string {
    return this.problem.code;
  }

  get status(): number {
    return this.problem.status;
  }

  /** The same request may succeed later. */
  get retryable(): boolean {
    return this.problem.retryable;
  }
}

/** The error that an answer tells of; of what is no problem document, the status is all that is known. */
export async function errorOf(response: Response): Promise<AetheriumError> {
  const found: unknown = await response.json().catch(() => undefined);
  if (isProblem(found)) return new AetheriumError(found);
  const away = [502, 503, 504].includes(response.status);
  return new AetheriumError({
    type: "about:blank",
    title: "Error",
    status: response.status,
    code: away ? "unavailable" : "internal",
    detail: `The gateway answered with status ${response.status}.`,
    hint: "",
    details: {},
    retryable: away,
  });
}

export function isProblem(value: unknown): value is Problem {
  return typeof value === "object" && value !== null && "code" in value && "detail" in value;
}
