// The question that every door turns its protocol into, and the facts that it gained on the way.
// Not what a client sends: the doors parse that. JSON stays text here, so that numbers keep their digits.

import type { PdpError } from '../errors.ts'
import type { Decision } from './decision.ts'

/** JSON text of one value on one line: JSON.parse takes it, and toSingleLine (strict-json.ts) has nothing to change. */
export type JsonText = string

/** Who asks: the enforcement point at the other end of the connection, as the service established it. */
export interface Caller {
  readonly authenticated: boolean
  /** SPIFFE ID, name of a token, or issuer and subject of an access token; absent for an anonymous caller. */
  readonly id?: string | undefined
  /** Of an access token. */
  readonly issuer?: string | undefined
  readonly clientId?: string | undefined
  readonly scopes?: readonly string[] | undefined
  /** Of its token. Milliseconds since 1970. */
  readonly expiresAtMs?: number | undefined
  /** Network address of the peer, without port. */
  readonly address?: string | undefined
}

/** A subject's own token as it came: one object for all questions of one request. Never recorded. */
export interface SubjectToken {
  readonly text: string
}

/** Who a subject's token says it is of, verified. */
export interface VerifiedSubject {
  readonly id: string
  /** Issuer, or trust domain. */
  readonly authority: string
  /** Whom the token was given to. */
  readonly clientId: string | undefined
  /** Those that the policy sees. */
  readonly claims: JsonText
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number
}

/** The W3C trace that a decision belongs to; IDs in lower-case hexadecimal. */
export interface TraceIds {
  readonly traceId: string
  /** The caller's span. */
  readonly parentId: string
  /** Whether the caller records its trace. */
  readonly isSampled: boolean
  /** The span of this decision, a child of the caller's. */
  readonly spanId: string
  /** `tracestate` as it came, which nobody has looked at; undefined: there was none. */
  readonly state?: string | undefined
}

/** Which steps of OPA's evaluator a trace shows. */
export type ExplainMode = 'notes' | 'fails' | 'full'

/** What a filter of data is compiled from and into. */
export interface FilterDemand {
  /** Pairs such as `sql` and `postgresql`, at least one. */
  readonly targets: readonly (readonly [target: string, dialect: string])[]
  /** References such as `input.fruits`; empty: those that the rule's annotation names. */
  readonly unknowns: readonly string[]
  /** Empty: the one that the rule's annotation names, if any. */
  readonly maskRule: string
  readonly disableInlining: readonly string[]
  /** Names of tables and columns, as JSON text. */
  readonly mappings: JsonText | undefined
}

export interface DecisionRequest {
  /** The protocol that asked, for example `decide`. */
  readonly door: string
  readonly correlationId: string
  readonly trace: TraceIds | undefined
  readonly caller: Caller
  /** The one instant of this decision: milliseconds since 1970, UTC. */
  readonly timeMs: number
  /** To be verified before anything is decided. */
  readonly token?: SubjectToken | undefined
  /** Of a door whose question is about whoever the token is of: what is asked then. */
  readonly identified?: ((id: string) => Partial<Pick<DecisionRequest, 'subject' | 'input'>>) | undefined
  /** Whose the token is; undefined: there was none. */
  readonly verified?: VerifiedSubject | undefined
  /** What the service holds against who asks, as JSON text; undefined: nothing. */
  readonly risk?: JsonText | undefined
  /** As the policy will see `input`, without the key `trusted`; undefined: no input at all. */
  readonly input: JsonText | undefined
  readonly subject: JsonText | undefined
  readonly action: JsonText | undefined
  readonly resource: JsonText | undefined
  /** Absent: the only bundle there is, or `main`. */
  readonly bundle?: string | undefined
  /** Absent: the bundle's default entrypoint. */
  readonly entrypoint?: string | undefined
  /** Answer only from this epoch of the bundle or a later one. */
  readonly minEpoch?: number | undefined
  /** True: all that OPA's evaluator traces. */
  readonly explain?: boolean | ExplainMode | undefined
  /** Instead of a decision: what is left of the rule when a part of its input is unknown. */
  readonly filter?: FilterDemand | undefined
  /** Of a decision that the door cannot put into words: then it is answered and recorded as this error. */
  readonly refuse?: ((decision: Decision) => PdpError | undefined) | undefined
  /** What is wrong with the question itself, for an item of a batch: it is answered and recorded as an error. */
  readonly fault?: PdpError | undefined
}
