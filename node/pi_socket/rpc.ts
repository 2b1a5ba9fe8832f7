/** JSON-RPC 2.0 as the agent socket uses it: the codes that pi-socket answers with, and its refusals. */

export const BAD_PARAMS = -32602;
export const UNKNOWN_METHOD = -32601;
export const INTERNAL = -32603;
export const UNKNOWN = -32004;
export const CONFLICT = -32009;
export const COMPACTED = -32010;
export const OVERLOADED = -32029;

export interface RpcError {
  code: number;
  message: string;
  data?: { hint: string };
}

export interface Answer {
  result?: unknown;
  error?: RpcError;
}

/** A request that is answered with an error. */
export class Refusal extends Error {
  readonly code: number;
  readonly hint: string | undefined;

  constructor(code: number, message: string, hint?: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }

  toError(): RpcError {
    const { code, message, hint } = this;
    return hint === undefined ? { code, message } : { code, message, data: { hint } };
  }
}
