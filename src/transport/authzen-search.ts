// AuthZEN's searches in texts: the candidates that the bundle declares, each asked of the policy, a page at a time.
// @see https://openid.net/specs/authorization-api-1_0.html §8
import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Candidates, SearchKind } from '../decision/candidates.ts'
import type { RecordedDecider } from '../decision/decider.ts'
import { parseStrictJson } from '../decision/strict-json.ts'
import type { PdpError } from '../errors.ts'
import { type RequestFacts, requestOf } from './decide.ts'
import { type DecideLimits, invalid, type PartTexts, toQuestion } from './decide-request.ts'
import { actionSchema, contextSchema, resourceSchema, subjectSchema } from './decide-schema.ts'
import type { PageTokens } from './page-token.ts'
import { Turn } from './turn.ts'

const pageSchema = z.looseObject({ token: z.string().max(8_192).optional(), limit: z.int().min(1).optional() }).optional()
const shared = { context: contextSchema.optional(), page: pageSchema }

/** What is searched for needs no ID; one that is there is not looked at. */
const withoutId = { id: z.unknown().optional() }
export const searchSchemas = {
  subject: z.looseObject({ subject: subjectSchema.extend(withoutId), action: actionSchema, resource: resourceSchema, ...shared }),
  resource: z.looseObject({ subject: subjectSchema, action: actionSchema, resource: resourceSchema.extend(withoutId), ...shared }),
  action: z.looseObject({ subject: subjectSchema, resource: resourceSchema, ...shared }),
} as const

/** Results of a page where the request says nothing. */
const defaultLimit = 100
/** Candidates that one request asks about at most, for each result that it may have; then comes a page that is not full. */
const asksPerResult = 10

export interface SearchOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  readonly candidates: () => Candidates
  readonly tokens: PageTokens
}

/**
 * @returns the JSON text of the answer, or the error that is the answer
 * @throws PdpError as parseStrictJson; ERR_INVALID_REQUEST, ERR_INVALID_IDENTIFIER
 */
export async function search(kind: SearchKind, text: string, facts: RequestFacts, options: SearchOptions): Promise<string | PdpError> {
  const { decider, limits, tokens } = options
  const { value, members } = parseStrictJson(text, limits)
  const parsed = searchSchemas[kind].safeParse(value)
  if (!parsed.success) throw invalid(parsed.error)
  const { subject, action, resource, page } = parsed.data as unknown as {
    subject: { type: string; id?: string; properties?: object }
    action?: { name: string }
    resource: { type: string; id?: string; properties?: object }
    page?: { token?: string; limit?: number }
  }
  const limit = Math.min(page?.limit ?? defaultLimit, limits.maxBatchSize)
  const asked = createHash('sha256')
    .update([kind, ...['subject', 'action', 'resource', 'context'].map((part) => members.get(part) ?? '')].join('\0'))
    .digest('base64url')
  // An empty token is what the last page ends with, so it stands for none.
  const after = page?.token === undefined || page.token === '' ? undefined : tokens.open(page.token, asked)

  const question = (candidate: string) => {
    const value = {
      subject: kind === 'subject' ? { type: subject.type, id: candidate } : subject,
      action: kind === 'action' ? { name: candidate } : action,
      resource: kind === 'resource' ? { type: resource.type, id: candidate } : resource,
    }
    const texts: PartTexts = {
      subject: kind === 'subject' ? entityText(subject, candidate) : members.get('subject'),
      action: kind === 'action' ? JSON.stringify({ name: candidate }) : members.get('action'),
      resource: kind === 'resource' ? entityText(resource, candidate) : members.get('resource'),
      context: members.get('context'),
    }
    return toQuestion(value, texts, limits)
  }

  // What is wrong with the parts that stay is wrong with the whole.
  const fault = question('x').fault
  if (fault !== undefined) throw fault

  const all = options.candidates().of(kind, kind === 'subject' ? subject.type : resource.type)
  const found: string[] = []
  let at = after === undefined ? 0 : firstBehind(all, after)
  const until = Math.min(all.length, at + limit * asksPerResult)
  const turn = new Turn()
  for (; at < until && found.length < limit; at++) {
    const candidate = all[at] as string
    const one = question(candidate)
    // A name that no request could hold is nothing that anybody may do.
    if (one.fault !== undefined) continue
    const deciding = decider.decide(requestOf(one, facts, {}))
    const decision = deciding instanceof Promise ? await deciding : deciding
    if (decision.error !== undefined && isUnanswerable(decision.error)) return decision.error
    if (decision.outcome === 'allow') found.push(candidate)
    if (turn.isLong) await turn.next()
  }
  const results = found.map((name) =>
    kind === 'action' ? { name } : { type: kind === 'subject' ? subject.type : resource.type, id: name },
  )
  const next = at < all.length ? tokens.seal(all[at - 1] as string, asked) : ''
  return JSON.stringify({ page: { next_token: next, count: results.length }, results })
}

/** Whether no candidate would be answered for. */
function isUnanswerable({ code }: PdpError): boolean {
  return [
    'ERR_NO_BUNDLE',
    'ERR_BUNDLE_EXPIRED',
    'ERR_LOG_UNAVAILABLE',
    'ERR_OVERLOADED',
    'ERR_DRAINING',
    'ERR_UNKNOWN_BUNDLE',
    'ERR_ENTRYPOINT_REQUIRED',
  ].includes(code)
}

function entityText({ type, properties }: { type: string; properties?: object }, id: string): string {
  return JSON.stringify({ type, id, ...(properties !== undefined && { properties }) })
}

/** Where the first candidate behind a name is, also where that name has gone since. */
function firstBehind(sorted: readonly string[], name: string): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as string) <= name) low = middle + 1
    else high = middle
  }
  return low
}
