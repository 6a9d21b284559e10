// PdpError and the closed list of its codes.
// Not the texts that a transport sends: each transport has one table from code to status (Record<PdpErrorCode, …>),
// so the compiler finds a code that a table forgot.

/** Every code that Verdict can answer, log or exit with. A new failure gets a line here first. */
export const pdpErrorCodes = [
  // What a caller sent.
  'ERR_INVALID_JSON',
  'ERR_INVALID_UTF8',
  'ERR_DUPLICATE_KEY',
  'ERR_FORBIDDEN_KEY',
  'ERR_UNSAFE_NUMBER',
  'ERR_TOO_DEEP',
  'ERR_TOO_MANY_MEMBERS',
  'ERR_INVALID_REQUEST',
  'ERR_INVALID_IDENTIFIER',
  'ERR_BATCH_TOO_LARGE',
  'ERR_BODY_TOO_LARGE',
  'ERR_DECOMPRESSED_TOO_LARGE',
  'ERR_HEADERS_TOO_LARGE',
  'ERR_UNSUPPORTED_MEDIA_TYPE',
  'ERR_UNSUPPORTED_ENCODING',
  'ERR_BAD_HTTP',
  'ERR_HOST_REFUSED',
  'ERR_ORIGIN_REFUSED',
  'ERR_AMBIGUOUS_PATH',
  'ERR_NOT_FOUND',
  'ERR_METHOD_NOT_ALLOWED',
  'ERR_REQUEST_TIMEOUT',
  // Who asked.
  'ERR_UNAUTHENTICATED',
  'ERR_AMBIGUOUS_CREDENTIALS',
  'ERR_FORBIDDEN',
  'ERR_TOKEN_INVALID',
  'ERR_SUBJECT_MISMATCH',
  'ERR_REPLAYED',
  'ERR_CERTIFICATE_REFUSED',
  // What was asked for.
  'ERR_UNKNOWN_BUNDLE',
  'ERR_UNKNOWN_ENTRYPOINT',
  'ERR_ENTRYPOINT_REQUIRED',
  'ERR_STALE_EPOCH',
  'ERR_REVOKED',
  'ERR_QUARANTINED',
  // What happened while answering.
  'ERR_EVALUATION_FAILED',
  'ERR_STEPS_EXHAUSTED',
  'ERR_MEMORY_EXHAUSTED',
  'ERR_STACK_EXHAUSTED',
  'ERR_BUILTIN_FAILED',
  'ERR_RESULT_UNUSABLE',
  'ERR_POLICY_RECOVERING',
  'ERR_NO_BUNDLE',
  'ERR_BUNDLE_EXPIRED',
  'ERR_LOG_UNAVAILABLE',
  'ERR_OVERLOADED',
  'ERR_DRAINING',
  'ERR_INTERNAL',
  // What an author, an operator or a machine got wrong.
  'ERR_REGO',
  'ERR_POLICY_INVALID',
  'ERR_BUILTIN_MISSING',
  'ERR_BUNDLE_INVALID',
  'ERR_BUNDLE_TOO_LARGE',
  'ERR_BUNDLE_PATH',
  'ERR_BUNDLE_ENTRY_TYPE',
  'ERR_BUNDLE_DUPLICATE_ENTRY',
  'ERR_BUNDLE_DATA',
  'ERR_BUNDLE_ROOTS',
  'ERR_BUNDLE_SIGNATURE',
  'ERR_BUNDLE_ROLLBACK',
  'ERR_UNKNOWN_REVISION',
  'ERR_CONFLICT',
  'ERR_EPOCH_MISMATCH',
  'ERR_CONFIG_INVALID',
  'ERR_STATE_LOCKED',
  'ERR_STATE_UNUSABLE',
  'ERR_LOG_BROKEN',
  'ERR_LISTEN',
  'ERR_TOOLCHAIN',
  'ERR_FILE',
  'ERR_USAGE',
] as const

export type PdpErrorCode = (typeof pdpErrorCodes)[number]

/** Where in a source file a failure lies. Rows and columns count from 1. */
export interface SourceLocation {
  readonly file: string
  readonly row: number
  readonly col: number
}

/** One finding of the Rego toolchain. */
export interface Finding {
  readonly code: string
  readonly message: string
  readonly location?: SourceLocation | undefined
  readonly details?: readonly string[] | undefined
}

/** @see RFC 6750 §3, RFC 9449 §7.1 */
export interface Challenge {
  /** `error` of the challenge. */
  readonly error: string
  /** For the next proof. */
  readonly nonce?: string | undefined
  /** The whole value of WWW-Authenticate, once it is known which schemes there are. */
  readonly authenticate?: string | undefined
}

/**
 * A failure with a code of the closed list. The message is for people and may leave the process: it names the
 * value and the bound, never a secret. The cause stays private: it is logged, never answered.
 */
export class PdpError extends Error {
  override readonly name = 'PdpError'
  readonly code: PdpErrorCode
  /** Findings of the toolchain, for ERR_REGO; faults of a configuration, for ERR_CONFIG_INVALID. */
  readonly findings: readonly Finding[]
  /** For credentials that are refused: what their sender can do about it. */
  readonly challenge: Challenge | undefined

  constructor(
    code: PdpErrorCode,
    message: string,
    options: { cause?: unknown; findings?: readonly Finding[]; challenge?: Challenge | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.findings = options.findings ?? []
    this.challenge = options.challenge
  }
}

/** Any thrown value as a PdpError; what is not one becomes ERR_INTERNAL with the original as private cause. */
export function toPdpError(thrown: unknown): PdpError {
  if (thrown instanceof PdpError) return thrown
  return new PdpError('ERR_INTERNAL', 'internal error', { cause: thrown })
}

/** `path:row:col: message`, as compilers print it. */
export function formatFinding(finding: Finding): string {
  const at = finding.location
  const where = at === undefined || at.file === '' ? '' : `${at.file}:${at.row}:${at.col}: `
  return `${where}${finding.code}: ${finding.message}`
}
