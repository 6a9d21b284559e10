// The answer of the core: a value, also where something failed. No transport's shape.
import type { PdpError } from '../errors.ts'
import type { JsonText } from './request.ts'

/** Which policy answered. */
export interface PolicyIdentity {
  readonly bundle: string
  readonly entrypoint: string
  /** The author's label; may be empty. */
  readonly revision: string
  /** SHA-256 of the archive, `sha256:` and 64 hexadecimal digits. */
  readonly digest: string
  /** Counts up with every activation, patch and rollback of the bundle on this service; starts at 1. */
  readonly epoch: number
}

export interface Decision {
  readonly outcome: 'allow' | 'deny' | 'error'
  /** Set exactly when the outcome is `error`. */
  readonly error?: PdpError | undefined
  /** Absent when the question could not be tied to a policy. */
  readonly policy?: PolicyIdentity | undefined
  /** What the policy said, as JSON text. */
  readonly reasons?: JsonText | undefined
  readonly obligations?: JsonText | undefined
  readonly context?: JsonText | undefined
  /** How long the answer may be reused by whoever gets it; 0: not at all. Milliseconds. */
  readonly maxAgeMs: number
  /** As the policy itself declared it; absent: it did not say. Milliseconds. */
  readonly declaredAgeMs?: number | undefined
  readonly cached: boolean
  /** Steps of the evaluation, see src/wasm/meter.ts. */
  readonly steps: number
  /** The facts under `trusted` that the policy saw, as JSON text. */
  readonly trusted?: JsonText | undefined
  /** What functions answered whose answer varies, as JSON text; absent: none was called. */
  readonly nd?: JsonText | undefined
  /** The whole result of the entrypoint as JSON text; absent where undefined. */
  readonly result?: JsonText | undefined
  /** Lines of a trace, when the request asked for an explanation. */
  readonly explanation?: string | undefined
}

/** A decision with its record: what a door may answer with. */
export interface RecordedDecision extends Decision {
  /** UUID of the record. */
  readonly id: string
}
