// Whether a parsed body is one plain question, told by a few comparisons instead of by the schema, which takes longer than
// the evaluation. Not a second definition: what is refused here is judged by decide-schema.ts, and what is accepted here
// the schema accepts with the same meaning (test/transport/plain-question.test.ts).
import { maxIdentifierLength, policyPattern } from './decide-schema.ts'

/** The members that the core needs of a question. */
export interface PlainQuestion {
  readonly subject: { readonly type: string; readonly id: string }
  readonly action: { readonly name: string }
  readonly resource: { readonly type: string; readonly id: string }
  readonly policy?: string
}

/** Members that make a body more than a plain question. */
const others = ['evaluations', 'options', 'token', 'min_epoch', 'explain'] as const

/** @param value as JSON.parse gave it */
export function isPlainQuestion(value: object): value is PlainQuestion {
  const { subject, action, resource, context, policy } = value as Readonly<Record<string, unknown>>
  if (!isObject(subject) || !isObject(action) || !isObject(resource)) return false
  if (!isIdentifier(subject['type']) || !isIdentifier(subject['id'])) return false
  if (!isIdentifier(action['name']) || !isIdentifier(resource['type']) || !isIdentifier(resource['id'])) return false
  if (!isOptionalObject(subject['properties']) || !isOptionalObject(action['properties'])) return false
  if (!isOptionalObject(resource['properties']) || !isOptionalObject(context)) return false
  if (policy !== undefined && (typeof policy !== 'string' || !policyPattern.test(policy))) return false
  for (const name of others) if ((value as Readonly<Record<string, unknown>>)[name] !== undefined) return false
  return true
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isOptionalObject(value: unknown): boolean {
  return value === undefined || isObject(value)
}

function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= maxIdentifierLength
}
