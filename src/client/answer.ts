// What is asked and what is answered, as the service has it on the wire; what the client itself answers where there is no answer.

export interface Entity {
  readonly type: string
  readonly id: string
  readonly properties?: Readonly<Record<string, unknown>>
}

/** @see schemas/decide-request.json */
export interface Question {
  readonly subject: Entity
  readonly action: { readonly name: string; readonly properties?: Readonly<Record<string, unknown>> }
  readonly resource: Entity
  readonly context?: Readonly<Record<string, unknown>>
}

/** @see schemas/decide-answer.json */
export interface Answer {
  /** True only where the service said exactly true. */
  readonly decision: boolean
  /** Of the decision record; empty where the service did not answer. */
  readonly id: string
  readonly context: {
    readonly reasons?: unknown
    readonly obligations?: unknown
    readonly error?: { readonly code: string; readonly message: string }
    readonly [name: string]: unknown
  }
  readonly policy?: {
    readonly bundle: string
    readonly entrypoint: string
    readonly revision: string
    readonly digest: string
    readonly epoch: number
  }
  readonly cache: { readonly max_age_ms: number }
}

/** The answer where there is none: a deny that says why. */
export function denied(code: string, message: string): Answer {
  return { decision: false, id: '', context: { error: { code, message } }, cache: { max_age_ms: 0 } }
}

/** @throws TypeError for what is no answer, so that nothing else is ever taken for an allow */
export function readAnswer(value: unknown): Answer {
  const { decision, id, context, cache } = (typeof value === 'object' && value !== null ? value : {}) as Partial<Answer>
  if (typeof decision !== 'boolean' || typeof id !== 'string' || typeof context !== 'object' || context === null)
    throw new TypeError('what came is no answer')
  return { ...(value as Answer), cache: typeof cache?.max_age_ms === 'number' ? cache : { max_age_ms: 0 } }
}
