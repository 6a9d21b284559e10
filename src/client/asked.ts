// What was asked, told apart by what is sent of it: two questions are the same where JSON.stringify writes the same text of both, which is
// found out without writing it. A question with another order of members may be taken for another one, which costs a request.
//
// INVARIANT: what is the same is sent the same.
import type { Question } from './answer.ts'
import type { CallOptions } from './client.ts'

/** A copy that nobody else changes. */
type Copy = string | number | bigint | boolean | symbol | null | undefined | Members | Written

/** Of a plain object. */
class Members {
  readonly names: readonly string[]
  readonly values: readonly Copy[]

  constructor(value: Readonly<Record<string, unknown>>) {
    this.names = Object.keys(value)
    this.values = this.names.map((name) => copyOf(value[name]))
  }
}

/** Of all else that is not a plain value: lists, dates, instances of classes, functions. */
class Written {
  readonly text: string | undefined

  constructor(value: unknown) {
    this.text = JSON.stringify(value)
  }
}

export class Asked {
  /** Texts, where the question is one. */
  readonly subjectId: unknown
  readonly resourceId: unknown
  readonly #policy: string | undefined
  readonly #token: string | undefined
  readonly #subject: Copy
  readonly #action: Copy
  readonly #resource: Copy
  readonly #context: Copy

  constructor({ subject, action, resource, context }: Question, { policy, token }: CallOptions) {
    this.subjectId = subject?.id
    this.resourceId = resource?.id
    this.#policy = policy
    this.#token = token
    this.#subject = copyOf(subject)
    this.#action = copyOf(action)
    this.#resource = copyOf(resource)
    this.#context = copyOf(context)
  }

  isSame(question: Question, call: CallOptions): boolean {
    return (
      call.policy === this.#policy &&
      call.token === this.#token &&
      isAs(question.resource, this.#resource) &&
      isAs(question.subject, this.#subject) &&
      isAs(question.action, this.#action) &&
      isAs(question.context, this.#context)
    )
  }
}

function copyOf(value: unknown): Copy {
  if (typeof value !== 'function' && (typeof value !== 'object' || value === null)) return value as Copy
  return isPlain(value) ? new Members(value) : new Written(value)
}

/** What is written by the members that it has, and by nothing else. */
function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  return Object.getPrototypeOf(value) === Object.prototype && (value as { readonly toJSON?: unknown }).toJSON === undefined
}

function isAs(value: unknown, copy: Copy): boolean {
  if (value === copy) return true
  if (copy instanceof Written) return JSON.stringify(value) === copy.text
  if (!(copy instanceof Members) || !isPlain(value)) return false
  const { names, values } = copy
  let i = 0
  // Names that an object has from its prototype are one too many.
  for (const name in value) {
    if (name !== names[i] || !isAs(value[name], values[i])) return false
    i++
  }
  return i === names.length
}
