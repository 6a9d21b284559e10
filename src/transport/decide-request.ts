// A body of /v1/decide, parsed into questions for the core. What is in here is true of the protocol, not of HTTP.
import type { z } from 'zod'
import { elementsOf, membersOf } from '../decision/json-text.ts'
import type { JsonText, SubjectToken } from '../decision/request.ts'
import { type JsonLimits, parseStrictJson } from '../decision/strict-json.ts'
import { PdpError } from '../errors.ts'
import { envelopeSchema, questionSchema, type semantics } from './decide-schema.ts'
import { isPlainQuestion, type PlainQuestion } from './plain-question.ts'

export interface DecideLimits extends JsonLimits {
  readonly maxBatchSize: number
  readonly identifiers: 'ascii' | 'unicode'
}

/** One question: JSON texts as they were sent, or what is wrong with it. */
export interface Question {
  readonly subject: JsonText | undefined
  readonly action: JsonText | undefined
  readonly resource: JsonText | undefined
  /** `{subject, action, resource, context}` as sent. */
  readonly input: JsonText | undefined
  readonly fault: PdpError | undefined
}

export interface DecideBody {
  readonly questions: readonly Question[]
  readonly isBatch: boolean
  readonly semantic: (typeof semantics)[number]
  readonly bundle: string | undefined
  readonly entrypoint: string | undefined
  readonly token: SubjectToken | undefined
  readonly minEpoch: number | undefined
  readonly explain: boolean
}

type Part = 'subject' | 'action' | 'resource' | 'context'
export type PartTexts = Readonly<Record<Part, JsonText | undefined>>

/**
 * @param text the decoded body
 * @param known members of the outer object that the protocol has; others are not looked at. Default: all
 * @throws PdpError as parseStrictJson; ERR_INVALID_REQUEST, ERR_INVALID_IDENTIFIER, ERR_BATCH_TOO_LARGE
 */
export function parseDecideBody(text: string, limits: DecideLimits, known?: readonly string[]): DecideBody {
  const { value: parsed, members } = parseStrictJson(text, limits)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new PdpError('ERR_INVALID_REQUEST', 'the body must be a JSON object')
  }
  const value = known === undefined ? parsed : Object.fromEntries(Object.entries(parsed).filter(([name]) => known.includes(name)))
  if (isPlainQuestion(value)) {
    const [bundle, entrypoint] = value.policy === undefined ? [] : splitPolicy(value.policy)
    return { ...plainBody, questions: [faultless(judged(value, textsOf(members), limits))], bundle, entrypoint }
  }
  const envelope = envelopeSchema.safeParse(value)
  if (!envelope.success) throw invalid(envelope.error)
  const { evaluations, options, policy, token, min_epoch, explain } = envelope.data
  const [bundle, entrypoint] = policy === undefined ? [] : splitPolicy(policy)
  const isBatch = evaluations !== undefined && evaluations.length > 0
  if (isBatch && evaluations.length > limits.maxBatchSize) {
    throw new PdpError('ERR_BATCH_TOO_LARGE', `batch size \`${evaluations.length}\` exceeds maxBatchSize \`${limits.maxBatchSize}\``)
  }
  return {
    questions: isBatch
      ? batch(value as Parts, members, evaluations, limits)
      : [faultless(toQuestion(value as Parts, textsOf(members), limits))],
    isBatch,
    semantic: options?.evaluations_semantic ?? 'execute_all',
    bundle,
    entrypoint,
    token: token === undefined ? undefined : { text: token },
    minEpoch: min_epoch,
    explain: explain ?? false,
  }
}

const plainBody = { isBatch: false, semantic: 'execute_all', token: undefined, minEpoch: undefined, explain: false } as const

type Parts = Readonly<Record<string, unknown>>

function textsOf(members: ReadonlyMap<string, JsonText>): PartTexts {
  return {
    subject: members.get('subject'),
    action: members.get('action'),
    resource: members.get('resource'),
    context: members.get('context'),
  }
}

/** In a batch a fault is the item's own answer; alone it is that of the request. */
function faultless(question: Question): Question {
  if (question.fault !== undefined) throw question.fault
  return question
}

function batch(value: Parts, members: ReadonlyMap<string, JsonText>, items: readonly unknown[], limits: DecideLimits): Question[] {
  const texts = elementsOf(members.get('evaluations') as string)
  return items.map((item, i) => {
    const isObject = typeof item === 'object' && item !== null && !Array.isArray(item)
    if (!isObject) return { ...emptyQuestion, fault: new PdpError('ERR_INVALID_REQUEST', `evaluations.${i}: must be an object`) }
    const own = membersOf(texts[i] as string)
    const pick = (part: Part) => (own.has(part) ? (item as Parts)[part] : value[part])
    const text = (part: Part) => own.get(part) ?? members.get(part)
    return toQuestion(
      { subject: pick('subject'), action: pick('action'), resource: pick('resource'), context: pick('context') },
      { subject: text('subject'), action: text('action'), resource: text('resource'), context: text('context') },
      limits,
    )
  })
}

export const emptyQuestion: Question = { subject: undefined, action: undefined, resource: undefined, input: undefined, fault: undefined }

/** @param value of the parts at least what decide-schema.ts checks */
export function toQuestion(value: Parts, texts: PartTexts, limits: DecideLimits): Question {
  if (isPlainQuestion(value)) return judged(value, texts, limits)
  const parsed = questionSchema.safeParse(value)
  return parsed.success ? judged(parsed.data, texts, limits) : { ...emptyQuestion, fault: invalid(parsed.error) }
}

/** A question of the right shape: its identifiers are looked at, its texts put together. */
function judged({ subject, action, resource }: PlainQuestion, texts: PartTexts, limits: DecideLimits): Question {
  const bad =
    badIdentifier('subject.type', subject.type, limits) ??
    badIdentifier('subject.id', subject.id, limits) ??
    badIdentifier('action.name', action.name, limits) ??
    badIdentifier('resource.type', resource.type, limits) ??
    badIdentifier('resource.id', resource.id, limits)
  if (bad !== undefined) return { ...emptyQuestion, fault: bad }
  const subjectText = texts.subject as string
  const actionText = texts.action as string
  const resourceText = texts.resource as string
  const contextText = texts.context
  const context = contextText === undefined ? '' : `,"context":${contextText}`
  return {
    subject: subjectText,
    action: actionText,
    resource: resourceText,
    input: `{"subject":${subjectText},"action":${actionText},"resource":${resourceText}${context}}`,
    fault: undefined,
  }
}

const printableAscii = /^[\x20-\x7e]+$/
/** Control, format, private use, unassigned and surrogate characters, and separators other than a space. */
const notInUnicodeIdentifier = /[\p{C}\p{Zl}\p{Zp}]/u

function badIdentifier(where: string, value: string, limits: DecideLimits): PdpError | undefined {
  if (printableAscii.test(value)) return undefined
  if (limits.identifiers === 'unicode' && !notInUnicodeIdentifier.test(value) && value.normalize('NFC') === value) return undefined
  const allowed = limits.identifiers === 'ascii' ? 'printable ASCII' : 'Unicode text in NFC without control and format characters'
  return new PdpError('ERR_INVALID_IDENTIFIER', `${where} must be ${allowed}`)
}

export function splitPolicy(policy: string): [string, string | undefined] {
  const colon = policy.indexOf(':')
  return colon < 0 ? [policy, undefined] : [policy.slice(0, colon), policy.slice(colon + 1)]
}

/** The first of what a schema finds. */
export function invalid(error: z.ZodError): PdpError {
  const first = error.issues[0]
  const where = first === undefined || first.path.length === 0 ? 'body' : first.path.join('.')
  return new PdpError('ERR_INVALID_REQUEST', `${where}: ${first?.message ?? 'is not as it should be'}`)
}
